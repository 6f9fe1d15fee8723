import type { BlobDigest, BlobStat, Blobs } from '@heddle/ports';
import { JOB_LIMITS } from '../limits.ts';
import { inParallel } from './in-parallel.ts';

/**
 * The blob store as tasks see it, which remembers how long each blob was that passed through: bytes under a digest never
 * change. What a result names was as a rule written or read by its own task a moment ago, and needs no question each.
 */
export class SizedBlobs implements Blobs {
  private readonly blobs: Blobs;
  /** The longest unused first. */
  private readonly sizes = new Map<BlobDigest, number>();

  constructor(blobs: Blobs) {
    this.blobs = blobs;
  }

  /** Of these blobs, each once; one that is known to nobody counts nothing. Errors: those of `stat`. */
  async bytesOf(digests: readonly BlobDigest[]): Promise<number> {
    let sum = 0;
    await inParallel(JOB_LIMITS.readsAtOnce, new Set(digests), async (digest) => {
      sum += this.sizes.get(digest) ?? (await this.stat(digest))?.bytes ?? 0;
    });
    return sum;
  }

  async put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat> {
    const stat = await this.blobs.put(source);
    this.learn(stat.digest, stat.bytes);
    return stat;
  }

  get(digest: BlobDigest): AsyncIterable<Uint8Array> {
    return this.blobs.get(digest);
  }

  async read(digest: BlobDigest): Promise<Uint8Array> {
    const bytes = await this.blobs.read(digest);
    this.learn(digest, bytes.length);
    return bytes;
  }

  async stat(digest: BlobDigest): Promise<BlobStat | undefined> {
    const stat = await this.blobs.stat(digest);
    if (stat !== undefined) this.learn(digest, stat.bytes);
    return stat;
  }

  async remove(
    digest: BlobDigest,
    options?: { readonly unlessModifiedSinceMs?: number },
  ): Promise<void> {
    this.sizes.delete(digest);
    await this.blobs.remove(digest, options);
  }

  list(): AsyncIterable<BlobStat> {
    return this.blobs.list();
  }

  private learn(digest: BlobDigest, bytes: number): void {
    this.sizes.delete(digest); // to the young end
    this.sizes.set(digest, bytes);
    const [oldest] = this.sizes.keys();
    if (this.sizes.size > JOB_LIMITS.blobSizesMax && oldest) this.sizes.delete(oldest);
  }
}
