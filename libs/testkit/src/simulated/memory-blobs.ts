import { createHash } from 'node:crypto';
import { notFound } from '@heddle/core';
import type { BlobDigest, BlobStat, Blobs, Clock } from '@heddle/ports';

interface Kept {
  readonly bytes: Uint8Array;
  modifiedMs: number;
}

/** The blobs' contract in memory, for simulations; it runs the contract suite too. */
export class MemoryBlobs implements Blobs {
  private readonly clock: Clock;
  private readonly kept = new Map<BlobDigest, Kept>();

  constructor(clock: Clock) {
    this.clock = clock;
  }

  async put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of source instanceof Uint8Array ? [source] : source) chunks.push(chunk);
    const bytes = new Uint8Array(Buffer.concat(chunks));
    const digest: BlobDigest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    const modifiedMs = this.clock.now();
    this.kept.set(digest, { bytes, modifiedMs });
    return { digest, bytes: bytes.length, modifiedMs };
  }

  async *get(digest: BlobDigest): AsyncGenerator<Uint8Array> {
    yield await this.read(digest);
  }

  async read(digest: BlobDigest): Promise<Uint8Array> {
    const found = this.kept.get(digest);
    if (found === undefined) throw notFound(`no blob ${digest}`);
    return found.bytes.slice();
  }

  async stat(digest: BlobDigest): Promise<BlobStat | undefined> {
    const found = this.kept.get(digest);
    if (found === undefined) return undefined;
    return { digest, bytes: found.bytes.length, modifiedMs: found.modifiedMs };
  }

  async remove(
    digest: BlobDigest,
    options: { readonly unlessModifiedSinceMs?: number } = {},
  ): Promise<void> {
    const found = this.kept.get(digest);
    if (found === undefined) return;
    if (found.modifiedMs > (options.unlessModifiedSinceMs ?? Number.POSITIVE_INFINITY)) return;
    this.kept.delete(digest);
  }

  async *list(): AsyncGenerator<BlobStat> {
    for (const [digest, { bytes, modifiedMs }] of [...this.kept]) {
      yield { digest, bytes: bytes.length, modifiedMs };
    }
  }
}
