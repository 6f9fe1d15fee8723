import { createHash, type Hash, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  dataLoss,
  invalidArgument,
  notFound,
  OperationError,
  resourceExhausted,
} from '@heddle/core';
import type { BlobDigest, BlobStat, Blobs, Clock, Log } from '@heddle/ports';
import { S3_LIMITS } from './limits.ts';
import { S3Bucket, type S3BucketOptions } from './s3-bucket.ts';
import { guarded, isAbsent, s3Error } from './s3-error.ts';

export interface S3BlobsOptions extends S3BucketOptions {
  readonly clock: Clock;
  readonly log?: Log;
  /** Begins every key, so that several Heddles can share a bucket. */
  readonly prefix?: string;
  /** Budget of what is under the prefix, as far as this process knows; corrected by each `list`. */
  readonly bytesMax?: number;
}

const DIGEST = /^sha256:([0-9a-f]{64})$/;

interface Written {
  readonly digest: BlobDigest;
  readonly bytes: number;
}

/**
 * Blobs as objects `ab/abcd…`. The name of a stream is known at its end, and S3 renames nothing: so what is longer than
 * one part goes to a temporary key and is copied on the server; S3 shows an object whole or not at all.
 */
export class S3Blobs implements Blobs {
  private readonly bucket: S3Bucket;
  private readonly clock: Clock;
  private readonly log: Log | undefined;
  private readonly prefix: string;
  private readonly bytesMax: number;
  private usedBytes = 0;
  /** Blobs that are in that sum: put again, they take no more. */
  private readonly counted = new Set<BlobDigest>();

  private constructor(bucket: S3Bucket, { clock, log, prefix, bytesMax }: S3BlobsOptions) {
    this.bucket = bucket;
    this.clock = clock;
    this.log = log;
    this.prefix = prefix ?? 'heddle/';
    this.bytesMax = bytesMax ?? Number.POSITIVE_INFINITY;
  }

  /** Checks or makes the bucket, and frees what crashed writers left in it. */
  static async open(options: S3BlobsOptions): Promise<S3Blobs> {
    const blobs = new S3Blobs(await S3Bucket.open(options), options);
    await guarded('sweeping the bucket', () => blobs.sweep(S3_LIMITS.uploadAgeMs));
    if (options.bytesMax !== undefined) for await (const { bytes } of blobs.list()) void bytes;
    return blobs;
  }

  async put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat> {
    return guarded('writing a blob', async () => {
      const { digest, bytes } = await this.write(source);
      const found = await this.bucket.head(this.key(digest));
      if (found?.bytes !== bytes)
        throw damaged(digest, `${found?.bytes} of ${bytes} bytes arrived`);
      this.count(digest, bytes);
      return { digest, bytes, modifiedMs: found.modifiedMs };
    });
  }

  async *get(digest: BlobDigest): AsyncGenerator<Uint8Array> {
    yield* this.checked(digest, (await this.fetch(digest)).body);
  }

  async read(digest: BlobDigest): Promise<Uint8Array> {
    const found = await this.fetch(digest);
    // Its own buffer from offset 0, so that the reader can view it as wider numbers.
    const bytes = new Uint8Array(found.bytes);
    let at = 0;
    for await (const chunk of this.checked(digest, found.body)) {
      if (at + chunk.length > bytes.length) throw damaged(digest, 'it is longer than its size');
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return bytes;
  }

  async stat(digest: BlobDigest): Promise<BlobStat | undefined> {
    const key = this.key(digest);
    const found = await guarded(`looking at ${digest}`, () => this.bucket.head(key));
    return found && { digest, bytes: found.bytes, modifiedMs: found.modifiedMs };
  }

  /** S3 offers no removal on condition of a time: a `put` of the same blob between look and removal is lost. */
  async remove(
    digest: BlobDigest,
    options: { readonly unlessModifiedSinceMs?: number } = {},
  ): Promise<void> {
    const found = await this.stat(digest);
    if (found === undefined) return;
    if (found.modifiedMs > (options.unlessModifiedSinceMs ?? Infinity)) return;
    await guarded(`removing ${digest}`, () => this.bucket.remove(this.key(digest)));
    this.usedBytes -= found.bytes;
    this.counted.delete(digest);
  }

  async *list(): AsyncGenerator<BlobStat> {
    let total = 0;
    const listed: BlobDigest[] = [];
    const root = `${this.prefix}blobs/`;
    const objects = this.bucket.list(root)[Symbol.asyncIterator]();
    for (;;) {
      const { value, done } = await guarded(`listing ${root}`, () => objects.next());
      if (done === true) break;
      const digest = `sha256:${value.key.slice(root.length + 'ab/'.length)}` as const;
      if (!DIGEST.test(digest)) continue;
      total += value.bytes;
      if (listed.length < S3_LIMITS.countedMax) listed.push(digest);
      yield { digest, bytes: value.bytes, modifiedMs: value.modifiedMs };
    }
    this.usedBytes = total;
    this.counted.clear();
    for (const digest of listed) this.counted.add(digest);
  }

  /** Frees temporary objects and unfinished uploads older than this. */
  async sweep(ageMs: number): Promise<void> {
    const beforeMs = this.clock.now() - ageMs;
    try {
      await this.bucket.abortUploads(this.prefix, beforeMs);
    } catch (thrown) {
      const error = OperationError.from(s3Error(thrown, 'freeing unfinished uploads'));
      if (error.code !== 'permission_denied') throw error;
      const hint = 'a life-cycle rule of the bucket must (AbortIncompleteMultipartUpload)';
      this.log?.warn(`unfinished uploads are not ours to free: ${hint}`, { error });
    }
    for await (const { key, modifiedMs } of this.bucket.list(`${this.prefix}tmp/`)) {
      if (modifiedMs < beforeMs) await this.bucket.remove(key);
    }
  }

  async close(): Promise<void> {
    this.bucket.close();
  }

  private async fetch(digest: BlobDigest, from = 0): ReturnType<S3Bucket['get']> {
    try {
      return await this.bucket.get(this.key(digest), from);
    } catch (error) {
      if (isAbsent(error)) throw notFound(`no blob ${digest}`);
      throw s3Error(error, `reading ${digest}`);
    }
  }

  private async *checked(
    digest: BlobDigest,
    body: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    const { chunkBytes } = S3_LIMITS;
    const hash = createHash('sha256');
    for await (const piece of this.resumed(digest, body)) {
      hash.update(piece);
      for (let at = 0; at < piece.length; at += chunkBytes) {
        yield piece.subarray(at, at + chunkBytes);
      }
    }
    const found = hash.digest('hex');
    if (digest !== `sha256:${found}`) throw damaged(digest, `its bytes hash to ${found}`);
  }

  /**
   * The SDK tries a request again and never a body: one that breaks off (a connection, a socket that idled because its reader
   * was slow) is asked for from there on, as long as each try brings something.
   */
  private async *resumed(
    digest: BlobDigest,
    first: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array> {
    let body = first;
    for (let at = 0, before = 0; ; before = at) {
      try {
        for await (const piece of body) {
          at += piece.length;
          yield piece;
        }
        return;
      } catch (error) {
        // The stream breaks as a socket does; what the request itself says has its own code.
        const known = s3Error(error, `reading ${digest}`);
        if (at === before || OperationError.from(known).code !== 'unavailable') throw known;
      }
      ({ body } = await this.fetch(digest, at));
    }
  }

  /** Bytes that are all here have their name: they go there at once, without a copy here and another on the server. */
  private async write(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<Written> {
    if (source instanceof Uint8Array && source.length <= this.bucket.wholeBytes) {
      return this.putSmall(source);
    }
    const pieces = source instanceof Uint8Array ? once(source) : source[Symbol.asyncIterator]();
    const { head, ended } = await fill(pieces, this.bucket.partBytes);
    return ended ? this.putSmall(head) : this.putLarge(head, pieces);
  }

  private async putSmall(bytes: Uint8Array): Promise<Written> {
    const hash = createHash('sha256').update(bytes).digest();
    const digest = `sha256:${hash.toString('hex')}` as const;
    if (!this.counted.has(digest)) this.checkBudget(bytes.length);
    await this.bucket.put(this.key(digest), bytes, hash);
    return { digest, bytes: bytes.length };
  }

  private async putLarge(head: Uint8Array, rest: AsyncIterator<Uint8Array>): Promise<Written> {
    const temporary = `${this.prefix}tmp/${randomUUID()}`;
    const counted = { hash: createHash('sha256'), bytes: 0 };
    const stream = Readable.from(this.counting(head, rest, counted), { objectMode: false });
    let broken: unknown;
    stream.on('error', (error) => {
      broken = error;
    });
    try {
      await this.bucket.upload(temporary, stream);
      const { bytes } = counted;
      const digest = `sha256:${counted.hash.digest('hex')}` as const;
      await this.bucket.copy(temporary, this.key(digest), bytes);
      return { digest, bytes };
    } catch (error) {
      throw broken ?? error; // what the source says, not what the upload makes of it
    } finally {
      await this.bucket.remove(temporary).catch(() => undefined); // else the sweep of a later start
    }
  }

  private async *counting(
    head: Uint8Array,
    rest: AsyncIterator<Uint8Array>,
    counted: { readonly hash: Hash; bytes: number },
  ): AsyncGenerator<Uint8Array> {
    try {
      let next: IteratorResult<Uint8Array> = { value: head };
      for (; next.done !== true; next = await rest.next()) {
        counted.hash.update(next.value);
        counted.bytes += next.value.length;
        this.checkBudget(counted.bytes);
        yield next.value;
      }
    } finally {
      await rest.return?.();
    }
  }

  private count(digest: BlobDigest, bytes: number): void {
    if (this.counted.has(digest)) return;
    this.usedBytes += bytes;
    if (this.counted.size < S3_LIMITS.countedMax) this.counted.add(digest);
  }

  private checkBudget(bytes: number): void {
    if (this.usedBytes + bytes <= this.bytesMax) return;
    throw resourceExhausted(
      `${bytes} more bytes of blobs pass the budget of ${this.bytesMax}, ${this.usedBytes} are used: free some (heddle gc)`,
      { details: { bytes, usedBytes: this.usedBytes, bytesMax: this.bytesMax } },
    );
  }

  private key(digest: BlobDigest): string {
    const hex = DIGEST.exec(digest)?.[1];
    if (hex === undefined) throw invalidArgument(`'${digest.slice(0, 80)}' is no blob's digest`);
    return `${this.prefix}blobs/${hex.slice(0, 2)}/${hex}`;
  }
}

/** Up to `bytes` of a source, and whether that was all of it. */
async function fill(
  pieces: AsyncIterator<Uint8Array>,
  bytes: number,
): Promise<{ readonly head: Uint8Array; readonly ended: boolean }> {
  const taken: Uint8Array[] = [];
  let length = 0;
  while (length <= bytes) {
    const { value, done } = await pieces.next();
    if (done === true) return { head: Buffer.concat(taken), ended: true };
    taken.push(value);
    length += value.length;
  }
  return { head: Buffer.concat(taken), ended: false };
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

function damaged(digest: BlobDigest, why: string) {
  return dataLoss(`blob ${digest} is damaged: ${why}`);
}
