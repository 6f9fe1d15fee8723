import type { BlobDigest, BlobStat, Blobs, Log } from '@heddle/ports';
import { DirectoryBlobs } from './directory-blobs.ts';
import { BLOB_LIMITS } from './limits.ts';

export interface CachedBlobsOptions {
  /** The store that counts, far away. */
  readonly blobs: Blobs;
  /** This process's own; made if it is not there. */
  readonly directory: string;
  readonly bytesMax: number;
  readonly log: Log;
}

/**
 * A blob store with copies on this machine of what is read whole again and again, as the shards of a training are, epoch
 * after epoch. Bytes under a digest never change, so a copy is right as long as it hashes to its name, which every reading of
 * it checks; one that does not is read from the store. What is read once is not copied. The longest unused gives way.
 */
export class CachedBlobs implements Blobs {
  private readonly blobs: Blobs;
  private readonly local: DirectoryBlobs;
  private readonly bytesMax: number;
  private readonly log: Log;
  /** Copies by digest, the longest unused first. */
  private readonly copies = new Map<BlobDigest, number>();
  private bytes = 0;
  /** Read once: the next reading makes a copy. The longest ago first. */
  private readonly readOnce = new Set<BlobDigest>();

  private constructor({ blobs, bytesMax, log }: CachedBlobsOptions, local: DirectoryBlobs) {
    this.blobs = blobs;
    this.local = local;
    this.bytesMax = bytesMax;
    this.log = log;
  }

  /** Takes over the copies of the last start. */
  static async open(options: CachedBlobsOptions): Promise<CachedBlobs> {
    const cached = new CachedBlobs(options, await DirectoryBlobs.open(options.directory));
    const found: BlobStat[] = [];
    for await (const stat of cached.local.list()) found.push(stat);
    for (const { digest, bytes } of found.sort((a, b) => a.modifiedMs - b.modifiedMs)) {
      cached.copies.set(digest, bytes);
      cached.bytes += bytes;
    }
    await cached.makeRoom(0);
    return cached;
  }

  put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat> {
    return this.blobs.put(source);
  }

  /** A stream is as a rule read once, by somebody elsewhere: it is not copied. */
  get(digest: BlobDigest): AsyncIterable<Uint8Array> {
    return this.blobs.get(digest);
  }

  async read(digest: BlobDigest): Promise<Uint8Array> {
    const bytes = this.copies.get(digest);
    if (bytes !== undefined) {
      this.copies.delete(digest);
      this.copies.set(digest, bytes); // to the young end
      try {
        return await this.local.read(digest);
      } catch (error) {
        this.log.warn('a copy of a blob cannot be read; the store can', { digest, error });
        await this.drop(digest);
      }
    }
    const read = await this.blobs.read(digest);
    if (this.readOnce.delete(digest)) await this.keep(digest, read);
    else this.remember(digest);
    return read;
  }

  stat(digest: BlobDigest): Promise<BlobStat | undefined> {
    return this.blobs.stat(digest);
  }

  async remove(
    digest: BlobDigest,
    options: { readonly unlessModifiedSinceMs?: number } = {},
  ): Promise<void> {
    await this.drop(digest);
    await this.blobs.remove(digest, options);
  }

  list(): AsyncIterable<BlobStat> {
    return this.blobs.list();
  }

  private remember(digest: BlobDigest): void {
    this.readOnce.add(digest);
    const [oldest] = this.readOnce;
    if (this.readOnce.size > BLOB_LIMITS.readOnceMax && oldest) this.readOnce.delete(oldest);
  }

  /** A copy that cannot be made is no failure: the bytes are there. */
  private async keep(digest: BlobDigest, bytes: Uint8Array): Promise<void> {
    if (bytes.length > this.bytesMax / 2 || this.copies.has(digest)) return;
    try {
      await this.makeRoom(bytes.length);
      await this.local.put(bytes);
      if (this.copies.has(digest)) return; // read twice at once
      this.copies.set(digest, bytes.length);
      this.bytes += bytes.length;
    } catch (error) {
      this.log.warn('a blob could not be copied to this machine', { digest, error });
    }
  }

  private async makeRoom(bytes: number): Promise<void> {
    for (const digest of this.copies.keys()) {
      if (this.bytes + bytes <= this.bytesMax) return;
      await this.drop(digest);
    }
  }

  private async drop(digest: BlobDigest): Promise<void> {
    const bytes = this.copies.get(digest);
    if (bytes === undefined) return;
    this.copies.delete(digest);
    this.bytes -= bytes;
    await this.local.remove(digest).catch((error: unknown) => {
      this.log.warn('a copy of a blob could not be removed', { digest, error });
    });
  }
}
