import { createHash } from 'node:crypto';
import type { BlobDigest } from '@heddle/ports';
import { NATS_LIMITS } from './limits.ts';
import { unavailable } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';
import type { Bucket } from './object-bucket.ts';

/** The chunks of one object on their way, under a name of their own: nobody sees them until they are described. */
export class ChunkUpload {
  private name = newName();
  private readonly link: NatsLink;
  private readonly bucket: Bucket;
  private readonly inFlight = new Set<Promise<void>>();
  private failure: unknown;
  private sent = 0;
  /** Where each chunk lies in the stream. */
  private readonly places: number[] = [];

  constructor(link: NatsLink, bucket: Bucket) {
    this.link = link;
    this.bucket = bucket;
  }

  /** Names the chunks; known when they are sent. */
  get id(): string {
    return this.name;
  }

  /** Resolves when every chunk is acknowledged, and they lie in their order. */
  async send(
    source: AsyncIterable<Uint8Array> | Uint8Array,
  ): Promise<{ readonly digest: BlobDigest; readonly size: number; readonly chunks: number }> {
    const hash = createHash('sha256');
    const chunkBytes = Math.min(NATS_LIMITS.chunkBytes, this.link.messageBytesMax);
    let pending = new Uint8Array(chunkBytes);
    let filled = 0;
    let size = 0;
    for await (const piece of source instanceof Uint8Array ? [source] : source) {
      hash.update(piece);
      size += piece.length;
      for (let at = 0; at < piece.length; ) {
        const part = piece.subarray(at, at + chunkBytes - filled);
        pending.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled < chunkBytes) continue;
        await this.publish(pending);
        pending = new Uint8Array(chunkBytes); // the one before is on its way still
        filled = 0;
      }
    }
    if (filled > 0) await this.publish(pending.subarray(0, filled));
    await Promise.all(this.inFlight);
    if (this.failure !== undefined) throw this.failure;
    await this.putInOrder();
    return { digest: `sha256:${hash.digest('hex')}`, size, chunks: this.sent };
  }

  /** Takes back what was sent. */
  async discard(): Promise<void> {
    await Promise.all(this.inFlight);
    if (this.sent > 0) await purgeChunks(this.link, this.bucket, this.id);
  }

  /**
   * Readers take the order in which the stream has the chunks. One that had to be sent again, because a leader died, lies behind those
   * that were sent after it: then all are copied, one after the other, under a new name.
   */
  private async putInOrder(): Promise<void> {
    const { link, bucket, places } = this;
    if (places.every((seq, index) => index === 0 || seq > (places[index - 1] ?? 0))) return;
    const old = this.name;
    this.name = newName();
    for (const [index, seq] of places.entries()) {
      const chunk = await link.patiently('reading a chunk back', () =>
        link.jsm.streams.getMessage(bucket.stream, { seq }),
      );
      if (chunk === null)
        throw unavailable(`chunk ${index + 1} of an upload is gone: send it again`);
      const options = { msgID: `${this.name}.${index + 1}`, expect: { streamName: bucket.stream } };
      await link.patiently('sending a chunk again', () =>
        link.js.publish(bucket.chunks(this.name), chunk.data, options),
      );
    }
    await purgeChunks(link, bucket, old).catch(() => undefined); // else the sweep's
  }

  private async publish(chunk: Uint8Array): Promise<void> {
    while (this.inFlight.size >= NATS_LIMITS.chunksInFlight) await Promise.race(this.inFlight);
    if (this.failure !== undefined) throw this.failure;
    const { link, bucket, id } = this;
    const index = this.sent;
    this.sent += 1;
    // The id makes the client's own second try after a time-out harmless.
    const options = { msgID: `${id}.${this.sent}`, expect: { streamName: bucket.stream } };
    const publishing = link
      .patiently('sending a chunk', () => link.js.publish(bucket.chunks(id), chunk, options))
      .then(
        ({ seq }) => {
          this.places[index] = seq;
        },
        (error: unknown) => {
          this.failure ??= error;
        },
      );
    const tracked = publishing.finally(() => this.inFlight.delete(tracked));
    this.inFlight.add(tracked);
  }
}

const newName = (): string => crypto.randomUUID().replaceAll('-', '');

export async function purgeChunks(link: NatsLink, bucket: Bucket, id: string): Promise<void> {
  await link.patiently(`freeing chunks of ${bucket.name}`, () =>
    link.jsm.streams.purge(bucket.stream, { filter: bucket.chunks(id) }),
  );
}
