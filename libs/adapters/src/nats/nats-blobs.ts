import { createHash } from 'node:crypto';
import { dataLoss, invalidArgument, notFound, type OperationError } from '@heddle/core';
import type { BlobDigest, BlobStat, Blobs } from '@heddle/ports';
import { headers } from '@nats-io/transport-node';
import { ChunkUpload, purgeChunks } from './chunk-upload.ts';
import { NATS_LIMITS } from './limits.ts';
import { isPassing, isWrongSequence, natsError, unavailable } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';
import { type Bucket, type ObjectMeta, openBucket, readMeta } from './object-bucket.ts';
import { subjectsOf } from './streams.ts';
import { lastOf, pageOf } from './subject-pages.ts';

export interface NatsBlobsOptions {
  /** Budget of the bucket on each server; past it `put` answers `resource_exhausted`. */
  readonly bytesMax?: number;
}

const DIGEST = /^sha256:([0-9a-f]{64})$/;

/** A blob's description as its subject has it. */
interface Found {
  readonly meta: ObjectMeta;
  readonly seq: number;
}

/**
 * Blobs in a JetStream object store, readable by any NATS tool. The client's own `put` and `get` are not used: they
 * want the name first, leave pieces behind when two write one name, and read as fast as the server sends, whatever the
 * reader does.
 */
export class NatsBlobs implements Blobs {
  private readonly link: NatsLink;
  private readonly bucket: Bucket;

  private constructor(link: NatsLink, bucket: Bucket) {
    this.link = link;
    this.bucket = bucket;
  }

  /** Makes or verifies the bucket, and frees what crashed writers left in it. */
  static async open(link: NatsLink, options: NatsBlobsOptions = {}): Promise<NatsBlobs> {
    const blobs = new NatsBlobs(link, await openBucket(link, options.bytesMax));
    await blobs.sweep(NATS_LIMITS.uploadAgeMs);
    return blobs;
  }

  async put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat> {
    const upload = new ChunkUpload(this.link, this.bucket);
    let describing = false;
    try {
      const { digest, size, chunks } = await upload.send(source);
      const modifiedMs = this.link.clock.now();
      const meta: ObjectMeta = {
        name: digest,
        bucket: this.bucket.name,
        nuid: upload.id,
        size,
        chunks,
        mtime: new Date(modifiedMs).toISOString(),
        digest: `SHA-256=${Buffer.from(hexOf(digest), 'hex').toString('base64').replace(/\+/g, '-').replace(/\//g, '_')}`,
        options: { max_chunk_size: NATS_LIMITS.chunkBytes },
        deleted: false,
      };
      describing = true;
      if (!(await this.publish(meta))) await upload.discard(); // it was there: refreshed, ours is not needed
      return { digest, bytes: size, modifiedMs };
    } catch (error) {
      // A description whose answer was lost may stand, and then needs its chunks: those are the sweep's.
      if (!describing) await upload.discard().catch(() => undefined);
      throw natsError(error, 'writing a blob');
    }
  }

  async *get(digest: BlobDigest): AsyncGenerator<Uint8Array> {
    const found = await this.find(digest);
    if (found === undefined) throw notFound(`no blob ${digest}`);
    const { nuid, chunks } = found.meta;
    const of = { stream: this.bucket.stream, subject: this.bucket.chunks(nuid) };
    const hash = createHash('sha256');
    let seq = 1;
    for (let left = chunks; left > 0; ) {
      const page = await pageOf(this.link, of, seq);
      if (page.length === 0) throw await this.vanished(digest, found);
      for (const chunk of page) {
        hash.update(chunk.data);
        yield chunk.data;
        seq = chunk.seq + 1;
        left -= 1;
      }
    }
    const hex = hash.digest('hex');
    if (digest !== `sha256:${hex}`) throw damaged(digest, `its bytes hash to ${hex}`);
  }

  async read(digest: BlobDigest): Promise<Uint8Array> {
    const found = await this.find(digest);
    if (found === undefined) throw notFound(`no blob ${digest}`);
    // Its own buffer from offset 0, so that the reader can view it as wider numbers.
    const bytes = new Uint8Array(found.meta.size);
    let at = 0;
    for await (const chunk of this.get(digest)) {
      if (at + chunk.length > bytes.length) throw damaged(digest, 'it is longer than its size');
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  async stat(digest: BlobDigest): Promise<BlobStat | undefined> {
    const found = await this.find(digest);
    if (found === undefined) return undefined;
    const { size, mtime } = found.meta;
    return { digest, bytes: size, modifiedMs: Date.parse(mtime) };
  }

  async remove(
    digest: BlobDigest,
    options: { readonly unlessModifiedSinceMs?: number } = {},
  ): Promise<void> {
    const found = await this.find(digest);
    if (found === undefined) return;
    const { meta, seq } = found;
    if (Date.parse(meta.mtime) > (options.unlessModifiedSinceMs ?? Infinity)) return;
    const { stream } = this.bucket;
    // Up to what was looked at: a `put` since then keeps its description, and with it the chunks.
    const filter = this.bucket.meta(digest);
    await this.link.patiently(`removing ${digest}`, () =>
      this.link.jsm.streams.purge(stream, { filter, seq: seq + 1 }),
    );
    if ((await this.find(digest))?.meta.nuid === meta.nuid) return;
    await purgeChunks(this.link, this.bucket, meta.nuid);
  }

  async *list(): AsyncGenerator<BlobStat> {
    const { lookupsAtOnce } = NATS_LIMITS;
    const names = await this.names();
    for (let at = 0; at < names.length; at += lookupsAtOnce) {
      const stats = await Promise.all(
        names.slice(at, at + lookupsAtOnce).map((name) => this.stat(name)),
      );
      for (const stat of stats) if (stat !== undefined) yield stat;
    }
  }

  /** Frees chunks that belong to no blob and are older than this. */
  async sweep(ageMs: number): Promise<number> {
    const { link, bucket } = this;
    const root = bucket.chunks('');
    const subjects = await subjectsOf(link, bucket.stream, `${root}*`);
    if (subjects.length === 0) return 0;
    const owned = new Set<string>();
    for (const name of await this.names()) {
      const found = await this.find(name);
      if (found !== undefined) owned.add(found.meta.nuid);
    }
    let freed = 0;
    for (const subject of subjects) {
      const id = subject.slice(root.length);
      const last = owned.has(id)
        ? undefined
        : await lastOf(link, { stream: bucket.stream, subject });
      if (last === undefined || link.clock.now() - last.timeMs < ageMs) continue;
      await purgeChunks(link, bucket, id);
      freed += 1;
    }
    return freed;
  }

  /** Makes the description current. False: the blob was there already, and only its time was renewed. */
  private async publish(meta: ObjectMeta): Promise<boolean> {
    const digest = meta.name as BlobDigest;
    for (let turn = 0; turn < NATS_LIMITS.blobConflictsMax; turn++) {
      const found = await this.find(digest);
      if (found?.meta.nuid === meta.nuid) return true; // by a try whose answer was lost
      const next = found === undefined ? meta : { ...found.meta, mtime: meta.mtime };
      const label = headers();
      label.set('Nats-Rollup', 'sub');
      try {
        await this.link.call(`publishing ${digest}`, () =>
          this.link.js.publish(this.bucket.meta(digest), JSON.stringify(next), {
            headers: label,
            expect: { streamName: this.bucket.stream, lastSubjectSequence: found?.seq ?? 0 },
          }),
        );
        return found === undefined;
      } catch (error) {
        if (isWrongSequence(error)) continue; // published or removed by another meanwhile
        if (!isPassing(error)) throw error;
        await this.link.clock.sleep(NATS_LIMITS.retryMs);
      }
    }
    throw unavailable(
      `${digest} could not be published: NATS does not answer, or others remove it all the time`,
    );
  }

  private async find(digest: BlobDigest): Promise<Found | undefined> {
    hexOf(digest);
    const of = { stream: this.bucket.stream, subject: this.bucket.meta(digest) };
    const message = await lastOf(this.link, of);
    if (message === undefined) return undefined;
    const meta = readMeta(message.data, digest);
    return meta.deleted === true ? undefined : { meta, seq: message.seq };
  }

  private async names(): Promise<readonly BlobDigest[]> {
    const root = this.bucket.metaRoot;
    const subjects = await subjectsOf(this.link, this.bucket.stream, `${root}*`);
    return subjects
      .map((subject) => Buffer.from(subject.slice(root.length), 'base64url').toString('utf8'))
      .filter((name): name is BlobDigest => DIGEST.test(name))
      .sort();
  }

  /** Chunks that are not there: removed while it was read, or lost. */
  private async vanished(digest: BlobDigest, { meta }: Found): Promise<OperationError> {
    const now = await this.find(digest);
    if (now?.meta.nuid === meta.nuid) return damaged(digest, 'chunks of it are missing');
    return notFound(`blob ${digest} was removed while it was read`);
  }
}

function hexOf(digest: BlobDigest): string {
  const hex = DIGEST.exec(digest)?.[1];
  if (hex === undefined) throw invalidArgument(`'${digest.slice(0, 80)}' is no blob's digest`);
  return hex;
}

function damaged(digest: BlobDigest, why: string): OperationError {
  return dataLoss(`blob ${digest} is damaged: ${why}`);
}
