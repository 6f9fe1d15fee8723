import { resourceExhausted } from '@heddle/core';
import type { DeadLetter, Delivery, PullOptions, PushOptions, WorkQueue } from '@heddle/ports';
import { headers, type Msg } from '@nats-io/transport-node';
import { DeadLetters } from './dead-letters.ts';
import { NATS_LIMITS } from './limits.ts';
import { oneToken } from './names.ts';
import { deliveredOf, keyOf, keyOfSubject, NatsDelivery, nak, tell } from './nats-delivery.ts';
import { isFull, isPassing, isWrongSequence, natsError } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';
import { pullMessage } from './pull-message.ts';
import { QueueStream } from './queue-stream.ts';
import { subjectsOf } from './streams.ts';
import { lastOf } from './subject-pages.ts';

export interface NatsQueueOptions {
  readonly messagesMax?: number;
  /** Disk of one queue on each server. */
  readonly bytesMax?: number;
  readonly deadLettersMax?: number;
}

/** When a message pushed with a delay is due, on the clock of who pushed it. */
const DUE = 'Heddle-Due';

/**
 * Each queue is a work-queue stream with one subject for each key, which holds one message at most: so a key that waits
 * or is in work is refused by the server, and an acknowledgement frees it.
 */
export class NatsQueue implements WorkQueue {
  private readonly link: NatsLink;
  private readonly options: Required<NatsQueueOptions>;
  private readonly dead: DeadLetters;
  private readonly closing = new AbortController();
  private readonly opened = new Map<string, Promise<QueueStream>>();

  private constructor(link: NatsLink, dead: DeadLetters, options: Required<NatsQueueOptions>) {
    this.link = link;
    this.dead = dead;
    this.options = options;
  }

  static async open(link: NatsLink, options: NatsQueueOptions = {}): Promise<NatsQueue> {
    const limits = {
      messagesMax: options.messagesMax ?? NATS_LIMITS.queueMessagesMax,
      bytesMax: options.bytesMax ?? NATS_LIMITS.queueBytesMax,
      deadLettersMax: options.deadLettersMax ?? NATS_LIMITS.deadLettersMax,
    };
    return new NatsQueue(link, await DeadLetters.open(link, limits.deadLettersMax), limits);
  }

  async push(
    queue: string,
    key: string,
    bytes: Uint8Array,
    options: PushOptions = {},
  ): Promise<void> {
    const { link } = this;
    link.checkMessage(bytes.length);
    const stream = await this.stream(queue);
    const { name } = stream;
    const subject = `${stream.lane(options.lane ?? '')}${oneToken(key)}`;
    const label = headers();
    if ((options.delayMs ?? 0) > 0) {
      label.set(DUE, `${Math.ceil(link.clock.now() + (options.delayMs ?? 0))}`);
    }
    try {
      // Without a message id: the server would remember it past the acknowledgement, when the key is free again.
      await link.patiently(`pushing ${key} to ${queue}`, () =>
        link.js.publish(subject, bytes, {
          headers: label,
          expect: { streamName: name, lastSubjectSequence: 0 },
        }),
      );
    } catch (error) {
      if (isWrongSequence(error)) return; // the key waits, or is in work
      if (!isFull(error)) throw this.lost(queue, error);
      if ((await lastOf(link, { stream: name, subject })) !== undefined) return;
      const { messagesMax } = this.options;
      throw resourceExhausted(
        `queue ${queue} holds ${messagesMax} messages or is out of disk: try again later`,
        {
          retryAfterMs: NATS_LIMITS.queueFullRetryMs,
          details: { messagesMax },
          cause: error,
        },
      );
    }
  }

  async pull(queue: string, options: PullOptions): Promise<Delivery | undefined> {
    const { link } = this;
    const signal = AbortSignal.any([
      this.closing.signal,
      ...(options.signal === undefined ? [] : [options.signal]),
    ]);
    const untilMs = link.clock.monotonic() + options.waitMs;
    const leftMs = (): number => untilMs - link.clock.monotonic();
    while (!signal.aborted) {
      const waitMs = Math.min(
        Math.max(NATS_LIMITS.pullFloorMs, leftMs()),
        NATS_LIMITS.pullExpiresMs,
      );
      let message: Msg | undefined;
      try {
        const stream = await this.stream(queue);
        await stream.readyFor(options.ackWaitMs);
        message = await pullMessage(link, stream, waitMs, signal);
      } catch (error) {
        const known = this.lost(queue, error);
        // Away is as good as empty while the caller waits anyway.
        if (!isPassing(known) || leftMs() <= 0) throw known;
        await link.clock.sleep(NATS_LIMITS.pullPauseMs, signal);
        continue;
      }
      const delivery = message && (await this.accept(queue, message, options));
      if (delivery !== undefined) return delivery;
      if (message === undefined && leftMs() <= 0) return undefined;
    }
    return undefined;
  }

  async prepare(queue: string, { ackWaitMs }: Pick<PullOptions, 'ackWaitMs'>): Promise<void> {
    try {
      await (await this.stream(queue)).readyFor(ackWaitMs);
    } catch (error) {
      throw this.lost(queue, error);
    }
  }

  async keys(queue: string, lane: string): Promise<readonly string[]> {
    const stream = await this.stream(queue);
    const filter = `${stream.lane(lane)}*`;
    return (await subjectsOf(this.link, stream.name, filter)).map(keyOfSubject);
  }

  async depth(queue: string): Promise<{ readonly waiting: number; readonly working: number }> {
    return (await this.stream(queue)).depth();
  }

  async deadLetters(queue: string, limit: number): Promise<readonly DeadLetter[]> {
    return this.dead.of(queue, limit);
  }

  async deadLetterCounts(): Promise<ReadonlyMap<string, number>> {
    return this.dead.counts();
  }

  /** Ends waiting pulls; the connection is its owner's to close. */
  async close(): Promise<void> {
    this.closing.abort('closed');
  }

  /** Hands a message out, unless it is not due yet or was delivered too often. */
  private async accept(
    queue: string,
    message: Msg,
    { ackWaitMs, attemptsMax }: PullOptions,
  ): Promise<Delivery | undefined> {
    const { link } = this;
    const { deliveries } = deliveredOf(message.reply ?? '');
    const dueMs = Number(message.headers?.get(DUE) || 0);
    const earlyMs = dueMs - link.clock.now();
    if (earlyMs > 0) {
      await tell(link, message, `handing back what is early in ${queue}`, nak(earlyMs));
      return undefined;
    }
    // A delayed message was as a rule delivered once before its time, to whoever gave it its delay.
    const attempt = dueMs > 0 ? Math.max(1, deliveries - 1) : deliveries;
    const bury = (attempts: number, reason: string): Promise<void> =>
      this.bury(queue, message, attempts, reason);
    if (attempt > attemptsMax) {
      await bury(attemptsMax, `delivered ${attemptsMax} times and never acknowledged`);
      return undefined;
    }
    return new NatsDelivery({
      link,
      queue,
      message,
      attempt,
      ackWaitMs,
      bury: (reason) => bury(attempt, reason),
    });
  }

  /** First the copy, then the removal: a crash between the two repeats the burial, under the same id. */
  private async bury(queue: string, message: Msg, attempts: number, reason: string): Promise<void> {
    const { id } = deliveredOf(message.reply ?? '');
    const letter = { queue, key: keyOf(message), bytes: message.data, attempts, reason };
    await this.dead.add(letter, id);
    await tell(this.link, message, `burying ${letter.key} of ${queue}`, `+TERM ${reason}`);
    this.link.log.warn('a message was buried', { queue, key: letter.key, attempts, reason });
  }

  private stream(queue: string): Promise<QueueStream> {
    const known = this.opened.get(queue);
    if (known !== undefined) return known;
    const opening = QueueStream.open(this.link, queue, this.options);
    this.opened.set(queue, opening);
    opening.catch(() => this.opened.delete(queue));
    return opening;
  }

  /** Nobody answers for the stream: it is looked at, and made again, before the next use. */
  private lost(queue: string, error: unknown): unknown {
    this.opened.delete(queue);
    return natsError(error, `using queue ${queue}`);
  }
}
