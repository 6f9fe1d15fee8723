import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { resourceExhausted } from '@heddle/core';
import type {
  BlobDigest,
  Blobs,
  Clock,
  ContentFile,
  HubOptions,
  Log,
  Metrics,
} from '@heddle/ports';
import { guarded } from '../fs/file-error.ts';
import { CacheRecords, type CheckedFile } from './cache-records.ts';
import { listDigest, readList } from './content-list.ts';
import { type FetchedFile, fetchFile } from './fetch-file.ts';
import { isLocked, withFileLock } from './file-lock.ts';
import { Leases } from './leases.ts';
import { LISTS_KEPT_MAX } from './limits.ts';

export interface ContentCacheOptions {
  /** Made if it is not there; may be shared by processes of one machine. */
  readonly directory: string;
  readonly blobs: Blobs;
  /** Budget on disk. */
  readonly bytesMax: number;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /**
   * Makes a blob appear under a path without a second copy; false where it cannot. Only for a blob store that is this
   * process's own folder: what is shared must not be damaged by what happens to a cache.
   */
  readonly link?: (digest: BlobDigest, path: string) => Promise<boolean>;
}

/** A content in use: its files lie in `path` until `release`. */
export interface HeldContent {
  readonly path: string;
  readonly files: readonly ContentFile[];
  release(): void;
}

/**
 * *Models of the blob store as files of this machine.*
 *
 *     records/HEX.json   a content is there iff this says so; written last, removed first
 *     files/HEX/…        plain files, as engines open them
 *     leases/, locks/    what is in use, and who fetches or evicts
 *
 * Every byte is hashed when it comes. Later uses compare size and time of each file with the record; `verify` hashes again.
 * What differs is fetched again, file by file. The longest unused gives way; what is in use never does.
 */
export class ContentCache {
  private readonly options: ContentCacheOptions;
  private readonly records: CacheRecords;
  private readonly leases: Leases;
  private readonly fetching = new Map<string, Promise<'hit' | 'fetched' | 'repaired'>>();
  private readonly lists = new Map<string, readonly ContentFile[]>();
  private readonly closed = new AbortController();

  private constructor(options: ContentCacheOptions) {
    this.options = options;
    this.records = new CacheRecords(join(options.directory, 'records'));
    this.leases = new Leases(join(options.directory, 'leases'));
  }

  static async open(options: ContentCacheOptions): Promise<ContentCache> {
    for (const name of ['files', 'locks', 'records', 'leases']) {
      const path = join(options.directory, name);
      await guarded(path, () => mkdir(path, { recursive: true }));
    }
    const cache = new ContentCache(options);
    await cache.sweep();
    options.metrics.set('models_cache_bytes', await cache.usedBytes());
    return cache;
  }

  /** The files of a content; kept, because a list never changes. */
  async files(reference: string): Promise<readonly ContentFile[]> {
    const known = this.lists.get(reference);
    if (known) return known;
    const files = await readList(this.options.blobs, reference);
    this.lists.set(reference, files);
    for (const oldest of this.lists.keys()) {
      if (this.lists.size <= LISTS_KEPT_MAX) break;
      this.lists.delete(oldest);
    }
    return files;
  }

  /**
   * Brings a content here, if it is not, and keeps it until `release`. Callers at the same time, and processes of the same folder,
   * share one fetch. Errors: those of the blob store; `resource_exhausted` when the budget has no room, with the numbers.
   */
  async hold(reference: string, { signal, verify = false }: HubOptions = {}): Promise<HeldContent> {
    const hex = listDigest(reference).slice('sha256:'.length);
    const release = this.leases.take(hex);
    try {
      const outcome = await this.present(reference, hex, verify, signal);
      this.options.metrics.add('models_opened_total', 1, { outcome });
      return { path: this.folder(hex), files: await this.files(reference), release };
    } catch (thrown) {
      release();
      if (!signal?.aborted)
        this.options.metrics.add('models_opened_total', 1, { outcome: 'failed' });
      throw thrown;
    }
  }

  /** Whether all of it is here, without a look at the blob store. */
  async has(reference: string): Promise<boolean> {
    return this.isWhole(listDigest(reference).slice('sha256:'.length));
  }

  /** Evicts what is none of these and not in use: after a name is gone, nothing else would say that its files may go. */
  async keepOnly(references: ReadonlySet<string>): Promise<void> {
    for (const { hex } of await this.records.list()) {
      if (!references.has(`content:sha256:${hex}`)) await this.evict(hex);
    }
    this.options.metrics.set('models_cache_bytes', await this.usedBytes());
  }

  /** Ends what is being fetched; what came stays and is gone on with. */
  async close(): Promise<void> {
    this.closed.abort();
    await Promise.allSettled(this.fetching.values());
    this.leases.close();
  }

  private async present(
    reference: string,
    hex: string,
    verify: boolean,
    signal: AbortSignal | undefined,
  ): Promise<'hit' | 'fetched' | 'repaired'> {
    if (!verify && (await this.isWhole(hex))) {
      await this.records.touch(hex);
      return 'hit';
    }
    let fetch = this.fetching.get(hex);
    if (fetch === undefined) {
      fetch = this.fetch(reference, hex, verify).finally(() => this.fetching.delete(hex));
      fetch.catch(() => undefined); // all who waited may have given up
      this.fetching.set(hex, fetch);
    }
    return signal === undefined ? fetch : unlessAborted(fetch, signal);
  }

  /** Size and time of each file are those of the moment in which its bytes were hashed. */
  private async isWhole(hex: string): Promise<boolean> {
    const record = await this.records.read(hex);
    if (record === undefined || record.files.length === 0) return false;
    for (const file of record.files) {
      const found = await stat(join(this.folder(hex), file.name)).catch(() => undefined);
      if (found?.size !== file.bytes || found.mtimeMs !== file.modifiedMs) return false;
    }
    return true;
  }

  private async fetch(reference: string, hex: string, verify: boolean) {
    const { clock, log, metrics } = this.options;
    const files = await this.files(reference);
    const startMs = clock.monotonic();
    const fetched = await withFileLock(this.lock(hex), clock, this.closed.signal, async () => {
      const record = await this.records.read(hex);
      if (record && !verify && (await this.isWhole(hex))) return 'hit'; // by another process meanwhile
      await this.makeRoom(reference, hex, files);
      const folder = this.folder(hex);
      await guarded(folder, () => mkdir(folder, { recursive: true }));
      await this.tidy(folder, files);
      const come: FetchedFile[] = [];
      for (const file of files) {
        const checked = verify ? undefined : record?.files.find(({ name }) => name === file.name);
        come.push(await this.fetchOne(file, folder, checked));
      }
      await this.records.write(hex, { files: come.map(({ checked }) => checked) });
      return come.filter(({ fetchedBytes }) => fetchedBytes > 0);
    });
    metrics.set('models_cache_bytes', await this.usedBytes());
    if (fetched === 'hit' || fetched.length === 0) return 'hit';
    const bytes = fetched.reduce((sum, { fetchedBytes }) => sum + fetchedBytes, 0);
    const seconds = (clock.monotonic() - startMs) / 1000;
    const damaged = fetched.filter((file) => file.damaged).map(({ checked }) => checked.name);
    if (damaged.length > 0)
      log.warn('damaged files of a model were fetched again', {
        content: reference,
        files: damaged,
      });
    else log.info('model fetched', { content: reference, bytes, seconds });
    return damaged.length > 0 ? 'repaired' : 'fetched';
  }

  private fetchOne(file: ContentFile, folder: string, checked: CheckedFile | undefined) {
    const { blobs, metrics, link } = this.options;
    return fetchFile(file, folder, {
      blobs,
      checked,
      signal: this.closed.signal,
      ...(link ? { link } : {}),
      onFetched: (bytes) => metrics.add('models_fetched_bytes_total', bytes),
    });
  }

  /** Evicts the longest unused until the content fits. Errors: `resource_exhausted` with what is in the way. */
  private async makeRoom(reference: string, hex: string, files: readonly ContentFile[]) {
    const { bytesMax, link } = this.options;
    // Files that our own blob store holds are no second copy, and take no room.
    const bytes = link ? 0 : files.reduce((sum, file) => sum + file.bytes, 0);
    const details = { bytes, limit: bytesMax };
    if (bytes > bytesMax) {
      throw resourceExhausted(
        `${reference} has ${bytes} bytes; the cache of models holds ${bytesMax} (HEDDLE_MODELS_GIB)`,
        { field: 'model', retryable: false, details },
      );
    }
    for (const other of await this.records.list()) {
      if ((await this.usedBytes(hex)) + bytes <= bytesMax) return;
      if (other.hex !== hex) await this.evict(other.hex);
    }
    const inUse = await this.usedBytes(hex);
    if (inUse + bytes <= bytesMax || link) return;
    throw resourceExhausted(
      `${reference} has ${bytes} bytes, and of the ${bytesMax} that the cache of models holds ${inUse} are in use (HEDDLE_MODELS_GIB)`,
      { field: 'model', retryAfterMs: 5000, details: { ...details, inUse } },
    );
  }

  private async evict(hex: string): Promise<void> {
    if ((await this.leases.isTaken(hex)) || (await isLocked(this.lock(hex)))) return;
    await withFileLock(this.lock(hex), this.options.clock, this.closed.signal, async () => {
      const record = await this.records.read(hex);
      await this.records.remove(hex);
      // Who took a lease before this line finds its record again; who takes one after it finds none, and waits for our lock.
      if (await this.leases.isTaken(hex)) {
        if (record) await this.records.write(hex, record);
        return;
      }
      await this.discard(hex);
      this.options.metrics.add('models_evictions_total', 1);
      this.options.log.info('model evicted', { content: `content:sha256:${hex}` });
    });
  }

  /** What a killed fetch left beside the files. */
  private async tidy(folder: string, files: readonly ContentFile[]): Promise<void> {
    const wanted = new Set(files.map(({ name }) => name));
    for (const name of await readdir(folder)) {
      if (!wanted.has(name)) await rm(join(folder, name), { recursive: true, force: true });
    }
  }

  private async discard(hex: string): Promise<void> {
    const aside = join(this.options.directory, 'files', `gone-${hex}-${process.pid}`);
    await rename(this.folder(hex), aside).catch(() => undefined);
    await rm(aside, { recursive: true, force: true });
  }

  /** Folders without a record and without anybody who is at them: what a killed process left. What is asked for again is gone on with. */
  private async sweep(): Promise<void> {
    const recorded = new Set((await this.records.list()).map(({ hex }) => hex));
    for (const name of await readdir(join(this.options.directory, 'files'))) {
      const path = join(this.options.directory, 'files', name);
      if (name.startsWith('gone-')) await rm(path, { recursive: true, force: true });
      else if (!recorded.has(name)) await this.records.write(name, { files: [] });
    }
  }

  /** Disk that the cache takes, but for one content. A file that the blob store holds too takes none. */
  private async usedBytes(except?: string): Promise<number> {
    let bytes = 0;
    for (const hex of await readdir(join(this.options.directory, 'files'))) {
      if (hex === except) continue;
      const folder = this.folder(hex);
      for (const name of await readdir(folder).catch(() => [])) {
        const found = await stat(join(folder, name)).catch(() => undefined);
        if (found && found.nlink === 1) bytes += found.size;
      }
    }
    return bytes;
  }

  private folder(hex: string): string {
    return join(this.options.directory, 'files', hex);
  }

  private lock(hex: string): string {
    return join(this.options.directory, 'locks', hex);
  }
}

/** Ends the wait, not the work: others may wait for it, too. */
async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = () => reject(signal.reason);
  signal.addEventListener('abort', abort);
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
