import { join } from 'node:path';
import { OperationError } from '@heddle/core';
import type { Blobs, Clock, Events, Journal, Log, Metrics, WorkQueue } from '@heddle/ports';
import type { Config } from './config.ts';
import { meteredBlobs, meteredStores } from './metered-stores.ts';
import { STORE_METRICS } from './metrics.ts';
import { meterNats } from './process-meters.ts';
import { promptJournal } from './prompt-journal.ts';
import type { NatsConfig } from './store-config.ts';

/** What every replica of a service must share. */
export interface Stores {
  readonly journal: Journal;
  readonly queue: WorkQueue;
  readonly events: Events;
  readonly blobs: Blobs;
}

export interface OpenedStores extends Stores {
  close(): Promise<void>;
}

export interface StoreDeps {
  readonly dataDirectory: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: StoreMeters;
  /** Fires when the process is told to end before its stores were there. */
  readonly signal: AbortSignal;
}

/** Metrics that can also be read when somebody looks. */
export interface StoreMeters extends Metrics {
  onScrape(read: () => void): void;
}

/** Between two tries to reach a store that is not there yet. */
const RETRY_MS = 1_000;

/** One file and one folder of this process's own, or what a cluster shares: as the configuration says. */
export async function openStores(config: Config, deps: StoreDeps): Promise<OpenedStores> {
  const { nats } = config.stores;
  deps.metrics.register(STORE_METRICS);
  const stores = await (nats === undefined
    ? openOwn(config, deps)
    : openShared(config, nats, deps));
  return meteredStores(stores, deps);
}

async function openOwn(config: Config, deps: StoreDeps): Promise<OpenedStores> {
  const [{ openSqlite }, { LocalEvents }] = await Promise.all([
    import('@heddle/adapters/sqlite'),
    import('@heddle/adapters/events'),
  ]);
  const sqlite = openSqlite(join(deps.dataDirectory, 'heddle.sqlite'), {
    clock: deps.clock,
    bytesMax: config.journalBytesMax,
    soleOwner: true, // the data lock says so: who held messages was killed, and its jobs go on at once
  });
  try {
    const blobs = meteredBlobs(await openBlobs(config, deps), deps);
    const { journal, queue } = sqlite;
    return { journal, queue, events: new LocalEvents(), blobs, close: () => sqlite.close() };
  } catch (thrown) {
    await sqlite.close();
    throw thrown;
  }
}

/** Other replicas hold messages of the same queues; which of them died is for the ack wait to find out. */
async function openShared(
  config: Config,
  nats: NatsConfig,
  deps: StoreDeps,
): Promise<OpenedStores> {
  const { natsConnection, openNats } = await import('@heddle/adapters/nats');
  const { clock, log } = deps;
  const { servers, monitors, replicas, syncAlways, prefix } = nats;
  const connection = natsConnection(nats);
  const settings = { monitors, replicas, syncAlways, prefix, connection };
  const options = { servers, ...settings, clock, log };
  const stores = await patiently('NATS', deps, () =>
    openNats({ ...options, journal: { bytesMax: config.journalBytesMax } }),
  );
  const { queue, events, connection: there } = stores;
  const journal = promptJournal(stores.journal, () => there.isAway);
  meterNats(stores, deps.metrics);
  try {
    const own = config.stores.blobs.kind === 'nats' ? stores.blobs : undefined;
    const open = own ?? (() => openBlobs(config, deps));
    const kept = meteredBlobs(await patiently('the blob store', deps, open), deps);
    const blobs = await withCopies(config, deps, kept);
    return { journal, queue, events, blobs, close: () => stores.close() };
  } catch (thrown) {
    await stores.close();
    throw thrown;
  }
}

async function openBlobs(config: Config, { dataDirectory, clock, log }: StoreDeps): Promise<Blobs> {
  const { blobs } = config.stores;
  const bytesMax = config.blobsBytesMax;
  if (blobs.kind === 's3') {
    const { S3Blobs } = await import('@heddle/adapters/s3');
    const { bucket, prefix, endpoint, region } = blobs;
    const where = {
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(region === undefined ? {} : { region }),
    };
    return S3Blobs.open({ bucket, prefix, clock, log, bytesMax, ...where });
  }
  const { DirectoryBlobs } = await import('@heddle/adapters/fs');
  const path = blobs.kind === 'directory' ? blobs.path : undefined;
  return DirectoryBlobs.open(path ?? join(dataDirectory, 'blobs'), { bytesMax });
}

/** What lies elsewhere and is read again and again, as the shards of a training are, is copied to this machine. */
async function withCopies(
  { stores: { blobs: where, blobCacheBytes: bytesMax } }: Config,
  { dataDirectory, log }: StoreDeps,
  blobs: Blobs,
): Promise<Blobs> {
  if (where.kind === 'directory' || bytesMax === 0) return blobs;
  const { CachedBlobs } = await import('@heddle/adapters/fs');
  return CachedBlobs.open({ blobs, directory: join(dataDirectory, 'copies'), bytesMax, log });
}

/**
 * Waits for a store that does not answer yet: parts of a cluster start in any order, and one that gave up would only be
 * started again. Health says NOT_SERVING meanwhile.
 */
async function patiently<T>(
  what: string,
  { clock, log, signal }: StoreDeps,
  open: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await open();
    } catch (thrown) {
      const { code, message, details } = OperationError.from(thrown);
      if (code !== 'unavailable' || signal.aborted) throw thrown;
      if (tries === 1 || tries % 10 === 0) {
        const how = details['answered'] ? 'answers and cannot be used' : 'does not answer';
        log.warn(`${what} ${how}; trying again`, { tries, reason: message });
      }
      await clock.sleep(RETRY_MS, signal);
      if (signal.aborted) throw thrown;
    }
  }
}
