import { join } from 'node:path';
import type { EnvironmentReader } from './environment.ts';

/** Where journal, queues and events are when not in this process's own file. */
export interface NatsConfig {
  readonly servers: readonly string[];
  /** Monitoring addresses, where the sync mode is read. */
  readonly monitors: readonly string[];
  readonly replicas: number;
  readonly syncAlways: boolean;
  readonly prefix: string;
  readonly user: string | undefined;
  readonly passwordFile: string | undefined;
  readonly credsFile: string | undefined;
  readonly nkeyFile: string | undefined;
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  readonly inboxPrefix: string | undefined;
}

export type BlobsConfig =
  | { readonly kind: 'directory'; readonly path: string | undefined }
  | { readonly kind: 'nats' }
  | {
      readonly kind: 's3';
      readonly bucket: string;
      readonly prefix: string;
      /** Absent: AWS. */
      readonly endpoint: string | undefined;
      /** Absent: the one that S3-compatible servers take for theirs. */
      readonly region: string | undefined;
    };

export interface StoreConfig {
  /** Undefined: one process, one SQLite file. */
  readonly nats: NatsConfig | undefined;
  readonly blobs: BlobsConfig;
  /** Of copies on this machine of blobs that lie elsewhere; 0: none. */
  readonly blobCacheBytes: number;
}

export function readStoreConfig(read: EnvironmentReader): StoreConfig {
  const nats = readNats(read);
  const blobCacheBytes = read.whole('HEDDLE_BLOBS_CACHE_GIB', 8, 0, 65_536) * 2 ** 30;
  return { nats, blobs: readBlobs(read, nats !== undefined), blobCacheBytes };
}

/** Where they are, for the log: a process that was to share them and keeps its own is seen. Without credentials. */
export function describeStores(
  { nats, blobs }: StoreConfig,
  dataDirectory: string,
): { readonly journal: string; readonly blobs: string } {
  return {
    journal: nats?.servers.map(withoutSecrets).join(', ') ?? join(dataDirectory, 'heddle.sqlite'),
    blobs: describeBlobs(blobs, dataDirectory),
  };
}

function describeBlobs(blobs: BlobsConfig, dataDirectory: string): string {
  if (blobs.kind === 'nats') return 'NATS';
  if (blobs.kind === 'directory') return blobs.path ?? join(dataDirectory, 'blobs');
  const { bucket, prefix, endpoint } = blobs;
  const at = endpoint === undefined ? '' : ` at ${withoutSecrets(endpoint)}`;
  return `s3://${bucket}/${prefix}${at}`;
}

/** `nats://user:password@host:4222` → `nats://host:4222`. */
const withoutSecrets = (url: string): string => url.replace(/^([a-z]+:\/\/)[^/]*@/i, '$1');

function readNats(read: EnvironmentReader): NatsConfig | undefined {
  const servers = read.list('HEDDLE_NATS');
  for (const server of servers) {
    if (!/^(nats|tls|wss?):\/\/\S+:\d+$/.test(server)) {
      read.problems.push(`HEDDLE_NATS: ${server} is no nats://HOST:PORT`);
    }
  }
  const prefix = read.text('HEDDLE_NATS_PREFIX') ?? 'heddle';
  if (!/^[a-z][a-z0-9-]{0,31}$/.test(prefix)) {
    read.problems.push(`HEDDLE_NATS_PREFIX=${prefix} is no word of small letters, digits and -`);
  }
  const config: NatsConfig = {
    servers,
    monitors: read.list('HEDDLE_NATS_MONITORS'),
    replicas: read.whole('HEDDLE_NATS_REPLICAS', 1, 1, 5),
    syncAlways: read.flag('HEDDLE_NATS_SYNC_ALWAYS'),
    prefix,
    user: read.text('HEDDLE_NATS_USER'),
    passwordFile: read.text('HEDDLE_NATS_PASSWORD_FILE'),
    credsFile: read.text('HEDDLE_NATS_CREDS'),
    nkeyFile: read.text('HEDDLE_NATS_NKEY'),
    caFile: read.text('HEDDLE_NATS_CA'),
    certFile: read.text('HEDDLE_NATS_CERT'),
    keyFile: read.text('HEDDLE_NATS_KEY'),
    inboxPrefix: read.text('HEDDLE_NATS_INBOX'),
  };
  return servers.length === 0 ? undefined : config;
}

/**
 * `s3://bucket/prefix`, `nats`, or a directory. Replicas must see each other's blobs, so with NATS the default is its object
 * store, never a folder of one's own.
 */
function readBlobs(read: EnvironmentReader, isCluster: boolean): BlobsConfig {
  const text = read.text('HEDDLE_BLOBS');
  const endpoint = read.text('HEDDLE_S3_ENDPOINT');
  if (text === undefined) return isCluster ? { kind: 'nats' } : { kind: 'directory', path: text };
  if (text === 'nats') {
    if (!isCluster) read.problems.push('HEDDLE_BLOBS=nats needs HEDDLE_NATS');
    return { kind: 'nats' };
  }
  // One letter is a drive; more is a scheme, of which `s3:bucket` lacks the slashes.
  if (!/^[a-z][a-z0-9+.-]+:/i.test(text)) return { kind: 'directory', path: text };
  const [, bucket, path = ''] =
    /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/?(.*)$/.exec(text) ?? [];
  if (bucket === undefined) {
    read.problems.push(
      `HEDDLE_BLOBS=${text} is neither s3://BUCKET[/PREFIX], nats nor a directory`,
    );
    return { kind: 'directory', path: undefined };
  }
  const folder = path.replace(/\/+$/, '');
  const region = read.text('AWS_REGION') ?? read.text('AWS_DEFAULT_REGION');
  return { kind: 's3', bucket, prefix: folder === '' ? 'heddle/' : `${folder}/`, endpoint, region };
}
