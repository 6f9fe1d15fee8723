import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { SERVERS, type ServerProgram } from '../servers/binaries.ts';
import { type NatsServer, startNats } from '../servers/nats-server.ts';
import { type S3Server, startS3 } from '../servers/s3-server.ts';
import { temporaryFolder } from '../temporary-folder.ts';
import { CLUSTER_SERVICES, ClusterProcess, type ServiceName } from './cluster-process.ts';
import { stablePort } from './stable-port.ts';

type Variables = Readonly<Record<string, string>>;

export interface ProcessSpec {
  readonly services: readonly ServiceName[];
  /** Default: the first service, with a number where there are several. */
  readonly name?: string;
  readonly replicas?: number;
  readonly env?: Variables;
  /** Where this one finds NATS: a proxy that can cut it off. */
  readonly natsUrl?: string;
  readonly main?: string;
  readonly within?: readonly string[];
  /** Its folder; default: a new one. */
  readonly data?: string;
}

export interface ClusterOptions {
  /** Default: each service once, and a front door. */
  readonly processes?: readonly ProcessSpec[];
  /** Servers that run already, and stay the caller's; or how to start one. */
  readonly nats?:
    | NatsServer
    | readonly NatsServer[]
    | { readonly program?: ServerProgram; readonly jetstream?: string; readonly args?: string[] };
  /** What processes are told in place of the servers' addresses. */
  readonly natsUrl?: string;
  readonly blobs?: 'directory' | 's3' | 'nats' | (string & {});
  readonly ackWaitMs?: number;
  readonly env?: Variables;
  readonly main?: string;
  /** False: returns when the processes are started. */
  readonly ready?: boolean;
}

export interface Cluster {
  /** gRPC of the front door; empty without one. */
  readonly address: string;
  readonly pages: string;
  readonly nats: NatsServer;
  readonly natsServers: readonly NatsServer[];
  readonly s3: S3Server | undefined;
  readonly folder: string;
  readonly processes: readonly ClusterProcess[];
  process(name: string): ClusterProcess;
  of(service: ServiceName): readonly ClusterProcess[];
  ready(timeoutMs?: number): Promise<void>;
  add(spec: ProcessSpec): Promise<readonly ClusterProcess[]>;
  /** Kills what runs, and removes every folder. */
  remove(): Promise<void>;
}

const EACH: readonly ProcessSpec[] = CLUSTER_SERVICES.map((service) => ({ services: [service] }));

/** A cluster of real processes on this machine, over a real NATS server; ready when this resolves. */
export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const folder = await temporaryFolder();
  const processes: ClusterProcess[] = [];
  const removers: (() => Promise<unknown>)[] = [() => folder.remove()];
  const remove = async (): Promise<void> => {
    const killed = processes.filter(({ alive }) => alive).map((process) => process.kill());
    await Promise.all(killed);
    for (const each of removers.splice(0).reverse()) await each();
  };
  try {
    const natsServers = await openServers(options, removers);
    const s3 = options.blobs === 's3' ? await startS3() : undefined;
    if (s3 !== undefined) removers.push(() => s3.remove());
    const common = commonVariables(options, { natsServers, s3, folder: folder.path });
    const add = async (specs: readonly ProcessSpec[]): Promise<readonly ClusterProcess[]> => {
      const planned = await plan(specs, folder.path, processes);
      const peers = peersOf([...processes, ...planned.map(({ process }) => process)]);
      const made = planned.map(({ settings, spec }) => {
        const nats: Variables = spec.natsUrl === undefined ? {} : { HEDDLE_NATS: spec.natsUrl };
        const env = { ...common, HEDDLE_PEERS: peers, ...nats, ...options.env, ...spec.env };
        const main = spec.main ?? options.main;
        return new ClusterProcess({ ...settings, env, main, within: spec.within });
      });
      processes.push(...made);
      for (const process of made) process.launch();
      if (options.ready !== false) await Promise.all(made.map((process) => process.ready()));
      return made;
    };
    await add(options.processes ?? EACH);
    const of = (service: ServiceName) =>
      processes.filter(({ services }) => services.includes(service));
    const [door] = of('explorer');
    const [nats] = natsServers;
    if (nats === undefined) throw new Error('a cluster without a NATS server');
    return {
      ...{ nats, natsServers, s3, folder: folder.path, processes, of, remove },
      address: door?.address ?? '',
      pages: door?.pages ?? '',
      process: (name) => {
        const found = processes.find((process) => process.name === name);
        if (found === undefined) throw new Error(`no process ${name}`);
        return found;
      },
      ready: async (timeoutMs) => {
        const alive = processes.filter((process) => process.alive);
        await Promise.all(alive.map((process) => process.ready(timeoutMs)));
      },
      add: (spec) => add([spec]),
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function openServers(
  { nats = {} }: ClusterOptions,
  removers: (() => Promise<unknown>)[],
): Promise<readonly NatsServer[]> {
  if ('url' in nats) return [nats];
  if (Array.isArray(nats)) return nats;
  const { program = SERVERS.natsCurrent, ...rest } = nats as Exclude<
    typeof nats,
    NatsServer | readonly NatsServer[]
  >;
  const server = await startNats(program, rest);
  removers.push(() => server.remove());
  return [server];
}

interface Surroundings {
  readonly natsServers: readonly NatsServer[];
  readonly s3: S3Server | undefined;
  readonly folder: string;
}

function commonVariables(
  { blobs = 'directory', natsUrl, ackWaitMs }: ClusterOptions,
  { natsServers, s3, folder }: Surroundings,
): Variables {
  const shared = { directory: join(folder, 'blobs'), s3: 's3://heddle' } as const;
  const keys = s3?.credentials;
  return {
    HEDDLE_NATS: natsUrl ?? natsServers.map(({ url }) => url).join(','),
    HEDDLE_NATS_MONITORS: natsServers.map(({ monitor }) => monitor).join(','),
    HEDDLE_BLOBS: blobs in shared ? shared[blobs as keyof typeof shared] : blobs,
    ...(ackWaitMs === undefined ? {} : { HEDDLE_ACK_WAIT_MS: `${ackWaitMs}` }),
    ...(s3 === undefined ? {} : { HEDDLE_S3_ENDPOINT: s3.endpoint }),
    ...(keys === undefined
      ? {}
      : { AWS_ACCESS_KEY_ID: keys.accessKeyId, AWS_SECRET_ACCESS_KEY: keys.secretAccessKey }),
  };
}

/** Ports, folders and names before anything starts: every process is told where all the others will be. */
async function plan(
  specs: readonly ProcessSpec[],
  folder: string,
  there: readonly ClusterProcess[],
) {
  const planned = [];
  const names = new Set(there.map(({ name }) => name));
  for (const spec of specs) {
    const base = spec.name ?? spec.services[0] ?? 'nothing';
    for (let i = 0; i < (spec.replicas ?? 1); i++) {
      const isAlone = (spec.replicas ?? 1) === 1 && !names.has(base);
      let number = i;
      while (names.has(`${base}-${number}`)) number += 1;
      const name = isAlone ? base : `${base}-${number}`;
      names.add(name);
      const data = spec.data ?? join(folder, name);
      await mkdir(data, { recursive: true });
      const port = await stablePort();
      const httpPort = await stablePort();
      const settings = { name, services: spec.services, port, httpPort, data, env: {} };
      planned.push({ spec, settings, process: new ClusterProcess(settings) });
    }
  }
  return planned;
}

function peersOf(processes: readonly ClusterProcess[]): string {
  return processes
    .flatMap(({ services, address }) => services.map((service) => ({ service, address })))
    .filter(({ service }) => service !== 'explorer')
    .map(({ service, address }) => `${service}=${address}`)
    .join(',');
}
