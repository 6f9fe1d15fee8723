import { targetOf } from '@heddle/adapters/grpc';
import { invalidArgument, OperationError } from '@heddle/core';
import type { ContractName, Provider } from '@heddle/ports';
import { type Environment, EnvironmentReader } from './environment.ts';
import { type ModelsConfig, readModelsConfig } from './model-config.ts';
import { readSecurityConfig, type SecurityConfig } from './security-config.ts';
import { readStoreConfig, type StoreConfig } from './store-config.ts';

const PROVIDERS = ['cuda', 'webgpu', 'cpu'] as const;
const CONTRACTS = ['activation', 'attribution', 'circuit', 'jobs', 'lorsa', 'qk'] as const;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
const GIB = 2 ** 30;
const HOUR_MS = 3_600_000;

export type Peers = ReadonlyMap<ContractName, readonly string[]>;

export interface Config {
  /** Where services listen; loopback, because nobody is asked who he is unless `security` says so. */
  readonly host: string;
  /** Preferred ports of a standing cluster; when they are taken, free ones. */
  readonly grpcPort: number;
  readonly httpPort: number;
  /** Tried in this order. */
  readonly providers: readonly Provider[];
  /** Inside one operator of ONNX Runtime. */
  readonly engineThreads: number;
  /** Weights that stay in memory between requests. */
  readonly engineCacheBytes: number;
  readonly journalBytesMax: number;
  readonly blobsBytesMax: number;
  /** Memory that one job may be estimated at; undefined: what this machine has. */
  readonly jobBytesMax: number | undefined;
  /** Takes tasks from the queues; or only accepts jobs, which other processes work on. */
  readonly works: boolean;
  /** A worker that is silent this long has lost its task; undefined: as each kind says. */
  readonly ackWaitMs: number | undefined;
  /** What tenants may have at a time, as a file says; undefined: Heddle's defaults. */
  readonly quotasFile: string | undefined;
  /** Tasks of one tenant and kind on the queue at a time. */
  readonly windowTasks: number;
  /** Folders that models may lie under; empty: anywhere, as the user of a command line expects. */
  readonly modelRoots: readonly string[];
  /** Where contracts are answered that this process does not answer itself; by default, here. */
  readonly peers: Peers;
  readonly stores: StoreConfig;
  readonly models: ModelsConfig;
  readonly security: SecurityConfig;
  readonly logLevel: (typeof LOG_LEVELS)[number] | undefined;
  /** OpenTelemetry's own variables, as they are: whether and where traces are sent. */
  readonly openTelemetry: Environment;
  /** Variables that look like ours and mean nothing. */
  readonly unread: readonly string[];
}

/** The environment → what it means. Errors: `invalid_argument` naming every variable that is wrong. */
export function readConfig(environment: Environment): Config {
  const read = new EnvironmentReader(environment);
  const config: Omit<Config, 'unread'> = {
    host: read.text('HEDDLE_HOST') ?? '127.0.0.1',
    grpcPort: read.port('HEDDLE_PORT', 7411),
    httpPort: read.port('HEDDLE_HTTP_PORT', 7412),
    providers: read.words('HEDDLE_PROVIDERS', PROVIDERS) ?? ['cpu'],
    engineThreads: read.whole('HEDDLE_THREADS', 1, 1, 256),
    engineCacheBytes: read.whole('HEDDLE_CACHE_GIB', 4, 1, 4096) * GIB,
    journalBytesMax: read.whole('HEDDLE_JOURNAL_GIB', 2, 1, 1024) * GIB,
    blobsBytesMax: read.whole('HEDDLE_BLOBS_GIB', 50, 1, 65_536) * GIB,
    jobBytesMax: read.whole('HEDDLE_JOB_GIB', 0, 1, 65_536) * GIB || undefined,
    works: readWork(read),
    ackWaitMs: read.whole('HEDDLE_ACK_WAIT_MS', 0, 100, HOUR_MS) || undefined,
    quotasFile: read.text('HEDDLE_QUOTAS'),
    windowTasks: read.whole('HEDDLE_WINDOW_TASKS', 64, 2, 256),
    modelRoots: read.list('HEDDLE_MODEL_ROOTS', ':'),
    peers: readPeers(read),
    stores: readStoreConfig(read),
    models: readModelsConfig(read),
    security: readSecurityConfig(read),
    logLevel: read.words('HEDDLE_LOG_LEVEL', LOG_LEVELS)?.[0],
    openTelemetry: Object.fromEntries(
      Object.entries(environment).filter(([name]) => name.startsWith('OTEL_')),
    ),
  };
  if (read.problems.length > 0)
    throw invalidArgument(`the environment is wrong: ${read.problems.join('; ')}`);
  return Object.freeze({ ...config, unread: read.unread() });
}

function readWork(read: EnvironmentReader): boolean {
  const works = read.words('HEDDLE_WORK', ['all', 'none'])?.[0] !== 'none';
  if (!works && read.text('HEDDLE_NATS') === undefined) {
    read.problems.push(
      'HEDDLE_WORK=none needs HEDDLE_NATS: nobody else takes tasks from queues of this process alone',
    );
  }
  return works;
}

/** `activation=host:port,lorsa=host:port`; a contract that is named again has several addresses. */
function readPeers(read: EnvironmentReader): Peers {
  const peers = new Map<ContractName, string[]>();
  for (const part of read.list('HEDDLE_PEERS')) {
    const [, name, address = ''] = /^([^=]+)=(.*)$/.exec(part) ?? [];
    const contract = CONTRACTS.find((known) => known === name);
    if (contract === undefined) {
      read.problems.push(
        `HEDDLE_PEERS: ${part} is no CONTRACT=HOST:PORT of ${CONTRACTS.join(', ')}`,
      );
    } else peers.set(contract, [...(peers.get(contract) ?? []), address]);
  }
  for (const [contract, addresses] of peers) {
    try {
      targetOf(addresses);
    } catch (thrown) {
      read.problems.push(`HEDDLE_PEERS: ${contract}=${OperationError.from(thrown).message}`);
    }
  }
  return peers;
}
