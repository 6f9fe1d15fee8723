import { invalidArgument } from '@heddle/core';
import type { ContractName, Provider } from '@heddle/ports';

const PROVIDERS = ['cuda', 'webgpu', 'cpu'] as const;
const CONTRACTS = ['activation', 'attribution', 'circuit', 'jobs', 'lorsa', 'qk'] as const;
const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const;
const GIB = 2 ** 30;

export interface Config {
  /** Where services listen; loopback, because nothing here asks who calls. */
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
  /** Folders that models may lie under; empty: anywhere, as the user of a command line expects. */
  readonly modelRoots: readonly string[];
  /** Where contracts are answered that this process does not answer itself; by default, here. */
  readonly peers: ReadonlyMap<ContractName, string>;
  readonly logLevel: (typeof LOG_LEVELS)[number] | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** The environment → what it means. Errors: `invalid_argument` naming every variable that is wrong. */
export function readConfig(environment: Environment): Config {
  const problems: string[] = [];
  const whole = (name: string, fallback: number, min: number, max: number): number => {
    const text = environment[name];
    if (text === undefined || text === '') return fallback;
    const value = Number(text);
    if (Number.isInteger(value) && value >= min && value <= max) return value;
    problems.push(`${name}=${text} is no whole number from ${min} to ${max}`);
    return fallback;
  };
  const words = <T extends string>(name: string, known: readonly T[]): readonly T[] | undefined => {
    const text = environment[name];
    if (text === undefined || text === '') return undefined;
    const list = text.split(',') as T[];
    const wrong = list.find((word) => !known.includes(word));
    if (wrong !== undefined) problems.push(`${name}: ${wrong} is none of ${known.join(', ')}`);
    return list;
  };
  const config: Config = {
    host: environment['HEDDLE_HOST'] || '127.0.0.1',
    grpcPort: whole('HEDDLE_PORT', 7411, 0, 65_535),
    httpPort: whole('HEDDLE_HTTP_PORT', 7412, 0, 65_535),
    providers: words('HEDDLE_PROVIDERS', PROVIDERS) ?? ['cpu'],
    engineThreads: whole('HEDDLE_THREADS', 1, 1, 256),
    engineCacheBytes: whole('HEDDLE_CACHE_GIB', 4, 1, 4096) * GIB,
    journalBytesMax: whole('HEDDLE_JOURNAL_GIB', 2, 1, 1024) * GIB,
    blobsBytesMax: whole('HEDDLE_BLOBS_GIB', 50, 1, 65_536) * GIB,
    jobBytesMax: whole('HEDDLE_JOB_GIB', 0, 1, 65_536) * GIB || undefined,
    modelRoots: (environment['HEDDLE_MODEL_ROOTS'] ?? '').split(':').filter((root) => root !== ''),
    peers: readPeers(environment['HEDDLE_PEERS'] ?? '', problems),
    logLevel: words('HEDDLE_LOG_LEVEL', LOG_LEVELS)?.[0],
  };
  if (problems.length > 0)
    throw invalidArgument(`the environment is wrong: ${problems.join('; ')}`);
  return Object.freeze(config);
}

/** `activation=host:port,lorsa=host:port`. */
function readPeers(text: string, problems: string[]): ReadonlyMap<ContractName, string> {
  const peers = new Map<ContractName, string>();
  for (const part of text.split(',').filter((entry) => entry !== '')) {
    const [name = '', address = ''] = part.split('=');
    const contract = CONTRACTS.find((known) => known === name);
    if (contract === undefined || !/:\d+$/.test(address)) {
      problems.push(`HEDDLE_PEERS: ${part} is no CONTRACT=HOST:PORT of ${CONTRACTS.join(', ')}`);
    } else peers.set(contract, address);
  }
  return peers;
}
