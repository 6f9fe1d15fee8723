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

/** Running jobs save and calls finish; Kubernetes gives 30 s by default. */
const DRAIN_MS = 20_000;

interface UpOptions {
  readonly services?: readonly string[];
  readonly port?: number;
}

export function addUp(program: Command, invocation: Invocation): void {
  program
    .command('up')
    .description('all services in one process, until stopped')
    .option('--services <list>', `only these of ${SERVICES.join(',')}`, parseWords)
    .option('--port <n>', 'gRPC port (default: 7411, or a free one)', parsePort)
    .action((options: UpOptions) => up(invocation, options));
}

async function up(invocation: Invocation, { services = SERVICES, port }: UpOptions) {
  const unknown = services.find((name) => !SERVICES.includes(name as 'activation'));
  if (unknown !== undefined) {
    throw new UsageError(`--services: there is no ${unknown}; there are ${SERVICES.join(', ')}`);
  }
  const { dataDirectory } = invocation;
  const owner = await invocation.host.findOwner(dataDirectory);
  if (owner !== undefined) {
    throw failedPrecondition(
      `${dataDirectory} is in use: heddle runs at ${owner.address} (process ${owner.pid}); stop it, or choose another --data`,
      { field: 'data', details: { pid: owner.pid, address: owner.address } },
    );
  }
  const cluster = await invocation.host.bringUp({
    dataDirectory,
    contracts: services as readonly ContractName[],
    standing: true,
    log: true,
    signal: invocation.signal,
    ...(port === undefined ? {} : { port }),
  });
  const document = { address: cluster.address, pages: cluster.pages, pid: process.pid };
  invocation.print(
    { ...document, data: dataDirectory, services },
    whereToLook(invocation, cluster),
  );
  await untilStopped(invocation, cluster);
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
