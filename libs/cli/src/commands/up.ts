import { failedPrecondition } from '@heddle/core';
import type { ContractName } from '@heddle/ports';
import type { Command } from 'commander';
import { parsePort, parseWords } from '../arguments/lists.ts';
import type { LocalCluster } from '../cluster-host.ts';
import { UsageError } from '../exit-status.ts';
import type { Invocation } from '../invocation.ts';
import { facts } from '../show.ts';

/** Services as `--services` names them: by their contract. */
export const SERVICES = ['activation', 'lorsa', 'qk', 'circuit', 'attribution'] as const;

/** The page and the way to the other services: a process of its own, which needs HEDDLE_PEERS and no stores. */
const FRONT_DOOR = 'explorer';

/** Running jobs save and calls finish; Kubernetes gives 30 s by default. */
export const DRAIN_MS = 20_000;

interface UpOptions {
  readonly services?: readonly string[];
  readonly port?: number;
}

export function addUp(program: Command, invocation: Invocation): void {
  program
    .command('up')
    .description('all services in one process, until stopped')
    .option(
      '--services <list>',
      `only these of ${SERVICES.join(',')}; or ${FRONT_DOOR}: the way into a cluster (HEDDLE_SERVICES)`,
      parseWords,
    )
    .option('--port <n>', 'gRPC port (default: 7411, or a free one)', parsePort)
    .action((options: UpOptions) => up(invocation, options));
}

async function up(invocation: Invocation, options: UpOptions) {
  const { services = servicesOf(invocation), port } = options;
  const frontDoor = checkServices(services);
  const { dataDirectory } = invocation;
  const owner = await invocation.host.findOwner(dataDirectory);
  if (owner !== undefined) {
    throw failedPrecondition(
      `${dataDirectory} is in use: heddle runs at ${owner.address} (process ${owner.pid}); stop it, or choose another --data`,
      { field: 'data', details: { pid: owner.pid, address: owner.address } },
    );
  }
  const cluster = await unlessStopped(
    invocation,
    invocation.host.bringUp({
      dataDirectory,
      contracts: frontDoor ? [] : (services as readonly ContractName[]),
      frontDoor,
      standing: true,
      log: true,
      signal: invocation.signal,
      ...(port === undefined ? {} : { port }),
    }),
  );
  if (cluster === undefined) return;
  const document = { address: cluster.address, pages: cluster.pages, pid: process.pid };
  invocation.print(
    { ...document, data: dataDirectory, services },
    whereToLook(invocation, cluster),
  );
  await untilStopped(invocation, cluster);
}

/** What an image is made for, where nobody says otherwise. */
function servicesOf({ io }: Invocation): readonly string[] {
  const named = io.environment['HEDDLE_SERVICES'] ?? '';
  return named === '' ? SERVICES : named.split(',');
}

/** Told to stop while it waited for its stores, a process has done what it was told. */
async function unlessStopped<T>({ signal }: Invocation, work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (thrown) {
    if (signal.aborted) return undefined;
    throw thrown;
  }
}

/** Whether it is the front door that is asked for. */
function checkServices(services: readonly string[]): boolean {
  const unknown = services.find((name) => ![...SERVICES, FRONT_DOOR].includes(name));
  if (unknown !== undefined) {
    const known = [...SERVICES, FRONT_DOOR].join(', ');
    throw new UsageError(`--services: there is no ${unknown}; there are ${known}`);
  }
  const frontDoor = services.includes(FRONT_DOOR);
  if (frontDoor && services.length > 1) {
    throw new UsageError(`--services: ${FRONT_DOOR} is a process of its own`);
  }
  return frontDoor;
}

export function whereToLook(invocation: Invocation, cluster: LocalCluster): string {
  const lines: [string, string][] = [
    ['heddle is up', ''],
    ['  gRPC', cluster.address],
    ['  jobs and models', `${cluster.pages}/`],
    ['  metrics', `${cluster.pages}/metrics`],
    ['  data', invocation.dataDirectory],
    ['  stop', 'Ctrl-C'],
  ];
  return facts(lines);
}

/** Until Ctrl-C, SIGTERM, or the end of the process that started us; being stopped is how this ends well. */
export async function untilStopped(invocation: Invocation, cluster: LocalCluster): Promise<void> {
  const stopped = new Promise<void>((resolve) => {
    invocation.signal.addEventListener('abort', () => resolve(), { once: true });
    if (invocation.signal.aborted) resolve();
  });
  await Promise.race([stopped, cluster.abandoned]);
  await cluster.close(DRAIN_MS);
}
