import { failedPrecondition } from '@heddle/core';
import { NatsBlobs, type NatsBlobsOptions } from './nats-blobs.ts';
import { NatsEvents } from './nats-events.ts';
import { NatsJournal, type NatsJournalOptions } from './nats-journal.ts';
import { NatsLink, type NatsLinkOptions } from './nats-link.ts';
import { NatsQueue, type NatsQueueOptions } from './nats-queue.ts';
import { reportOf, type StreamReport } from './streams.ts';
import { readSyncMode, type SyncMode } from './sync-mode.ts';

export { workStream } from './names.ts';
export { type NatsCredentials, natsConnection } from './nats-credentials.ts';
export {
  accountsConfig,
  type NatsUser,
  type Permissions,
  passwordVariable,
  permissionsOf,
} from './permissions.ts';
export { WORKERS } from './queue-stream.ts';
export { type NatsServerState, readServerState } from './server-state.ts';
export { NATS_VERSION_MIN } from './server-version.ts';
export type { StreamReport } from './streams.ts';
export type { SyncMode } from './sync-mode.ts';

export interface NatsOptions extends NatsLinkOptions {
  /** Monitoring addresses (`http://host:8222`) of every server: there the sync mode is read. */
  readonly monitors?: readonly string[];
  /** Refuse servers that do not sync at every write, or do not say so. */
  readonly syncAlways?: boolean;
  readonly journal?: NatsJournalOptions;
  readonly queue?: NatsQueueOptions;
  readonly blobs?: NatsBlobsOptions;
}

/** What was found at the start: to be logged, and shown to who asks what a deployment can lose. */
export interface NatsReport {
  readonly serverVersion: string;
  readonly sync: SyncMode;
  readonly journal: StreamReport;
  /** What this deployment does not promise, in sentences; empty for three replicas that sync always. */
  readonly caveats: readonly string[];
}

export interface NatsStores {
  readonly journal: NatsJournal;
  readonly queue: NatsQueue;
  readonly events: NatsEvents;
  readonly report: NatsReport;
  /** As it is whenever it is looked at. */
  readonly connection: Pick<NatsLink, 'isUp' | 'isAway' | 'disconnects'>;
  /** The object store; opened when first asked for, because most clusters keep blobs elsewhere. */
  blobs(): Promise<NatsBlobs>;
  close(): Promise<void>;
}

/** Journal, queue, events and blobs over one connection, with the server and its settings checked. */
export async function openNats(options: NatsOptions): Promise<NatsStores> {
  const link = await NatsLink.open(options);
  try {
    const sync = await readSyncMode(options.monitors ?? []);
    if (options.syncAlways === true && sync.kind !== 'always') {
      throw failedPrecondition(`NATS must sync at every write, and ${saySync(sync)}`);
    }
    const journal = await NatsJournal.open(link, options.journal);
    const queue = await NatsQueue.open(link, options.queue);
    const found = reportOf(journal.found);
    const report = {
      serverVersion: link.serverVersion,
      sync,
      journal: found,
      caveats: caveatsOf(found, sync),
    };
    link.log.info('NATS is ready', { ...report });
    let blobs: Promise<NatsBlobs> | undefined;
    const close = async (): Promise<void> => {
      await queue.close();
      await journal.close();
      await link.close();
    };
    return {
      journal,
      queue,
      events: new NatsEvents(link),
      report,
      connection: link,
      blobs: () => (blobs ??= NatsBlobs.open(link, options.blobs)),
      close,
    };
  } catch (error) {
    await link.close();
    throw error;
  }
}

function caveatsOf({ replicas, storage, notCurrent }: StreamReport, sync: SyncMode): string[] {
  const caveats: string[] = [];
  if (storage !== 'file') caveats.push('the journal is in memory: a restart loses it');
  if (replicas < 3) caveats.push(`${replicas} copy of the journal: its server's disk is its life`);
  if (sync.kind !== 'always')
    caveats.push(`a power cut can take back acknowledged appends: ${saySync(sync)}`);
  if (notCurrent.length > 0) caveats.push(`replicas away or behind: ${notCurrent.join(', ')}`);
  return caveats;
}

function saySync(sync: SyncMode): string {
  if (sync.kind === 'unknown') return `the sync mode is unknown (${sync.reason})`;
  return sync.kind === 'always' ? 'it syncs always' : `it syncs every ${sync.intervalMs} ms`;
}
