import { dataLoss, OperationError, type Rng } from '@heddle/core';
import type { BlobDigest, Blobs, Clock, Delivery, Journal, WorkQueue } from '@heddle/ports';
import type { VirtualClock } from '@heddle/testkit';
import type { Stores } from './stores.ts';

/** Shares of calls that go wrong while faults are on. High, so that a schedule of a minute meets several. */
const RATES = {
  /** Refused before it was done. */
  unavailable: 0.03,
  /** Done, but the caller hears a time-out: the nastiest case. */
  executedAndTimedOut: 0.04,
  /** The replica dies between a committed append and its reply: nothing is enqueued. */
  crashAfterAppend: 0.04,
  /** A checkpoint has rotted on the disk when it is wanted again. */
  rotted: 0.2,
  ackLost: 0.1,
  duplicated: 0.08,
  delayed: 0.1,
  slow: 0.03,
} as const;

/** How often what happened, over all schedules: a simulation without faults would prove nothing. */
export class FaultCounts {
  readonly counts = new Map<string, number>();

  add(fault: string): void {
    this.counts.set(fault, (this.counts.get(fault) ?? 0) + 1);
  }
}

export interface Weather {
  readonly rng: Rng;
  readonly clock: VirtualClock;
  readonly counts: FaultCounts;
  /** False at the end of a schedule, when everything must come to rest. */
  readonly stormy: boolean;
}

/** A promise of its own each time: one for all would hold every life that ever waited on it. */
const never = (): Promise<never> => new Promise(() => undefined);

/** One life of one replica: its ports work with delays and faults, freeze with it and die with it. */
export class Incarnation {
  readonly clock: Clock;
  readonly journal: Journal;
  readonly queue: WorkQueue;
  readonly blobs: Blobs;
  private readonly weather: Weather;
  private readonly death = new AbortController();
  private readonly ends = new Map<AbortSignal, AbortSignal>();
  private frozenUntilMs = 0;
  onCrash: () => void = () => undefined;

  constructor(weather: Weather, stores: Stores) {
    this.weather = weather;
    // Clocks of different machines disagree.
    const skewMs = weather.rng.below(4_000) - 2_000;
    const { clock } = weather;
    this.clock = {
      now: () => clock.now() + skewMs,
      monotonic: () => clock.monotonic(),
      sleep: (ms, signal) => this.sleep(ms, signal),
    };
    this.journal = this.faultyJournal(stores.journal);
    this.queue = this.faultyQueue(stores);
    this.blobs = this.faultyBlobs(stores.blobs);
  }

  get dead(): boolean {
    return this.death.signal.aborted;
  }

  /** Nothing of it happens any more; calls under way may or may not have been done. */
  crash(): void {
    if (this.dead) return;
    if (this.weather.stormy) this.weather.counts.add('crash');
    this.death.abort('crashed');
    this.onCrash();
  }

  /** A long pause (garbage, swap, a partition): everything of it stands still and then goes on as if nothing were. */
  freeze(ms: number): void {
    this.weather.counts.add('freeze');
    this.frozenUntilMs = this.weather.clock.monotonic() + ms;
  }

  private async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { clock } = this.weather;
    if (this.dead) return never();
    await clock.sleep(ms, signal);
    const thawMs = this.frozenUntilMs - clock.monotonic();
    if (thawMs > 0) await clock.sleep(thawMs);
    if (this.dead) return never();
  }

  private latencyMs(): number {
    const { rng, stormy, counts } = this.weather;
    if (stormy && rng.uniform() < RATES.slow) {
      counts.add('slow');
      return rng.below(5_000);
    }
    return 1 + rng.below(10);
  }

  private async call<T>(body: () => Promise<T>): Promise<T> {
    const { rng, counts } = this.weather;
    await this.sleep(this.latencyMs());
    if (this.hit(RATES.unavailable)) {
      counts.add('unavailable');
      throw new OperationError({ code: 'unavailable', message: 'simulated: not done' });
    }
    const late = this.hit(RATES.executedAndTimedOut);
    const value = await body();
    if (rng.below(2) === 0) await this.sleep(this.latencyMs());
    if (this.dead) return never();
    if (!late) return value;
    counts.add('executed and timed out');
    throw new OperationError({
      code: 'deadline_exceeded',
      message: 'simulated: done, not told',
      retryable: true,
    });
  }

  private hit(rate: number): boolean {
    return this.weather.stormy && this.weather.rng.uniform() < rate;
  }

  private faultyJournal(journal: Journal): Journal {
    const { counts } = this.weather;
    return {
      append: (stream, expected, events, life) =>
        this.call(async () => {
          try {
            const last = await journal.append(stream, expected, events, life);
            if (this.hit(RATES.crashAfterAppend)) {
              counts.add('crash between append and enqueue');
              this.crash();
            }
            return last;
          } catch (error) {
            if (OperationError.from(error).code === 'aborted') counts.add('lost race');
            throw error;
          }
        }),
      read: (stream, after) => this.call(() => journal.read(stream, after)),
      follow: (stream, after, signal) => journal.follow(stream, after, signal),
      streams: (prefix, limit, after) => this.call(() => journal.streams(prefix, limit, after)),
      ends: (prefix) => this.call(() => journal.ends(prefix)),
      remove: (stream, condition) => this.call(() => journal.remove(stream, condition)),
      bytes: () => journal.bytes(),
      close: () => journal.close(),
    };
  }

  private faultyQueue({ queue }: Stores): WorkQueue {
    const { rng, counts } = this.weather;
    return {
      push: (name, key, bytes, options) =>
        this.call(async () => {
          const delayed = this.hit(RATES.delayed);
          if (delayed) counts.add('delayed');
          const delayMs = (options?.delayMs ?? 0) + (delayed ? rng.below(20_000) : 0);
          await queue.push(name, key, bytes, { ...options, delayMs });
          if (!this.hit(RATES.duplicated)) return;
          counts.add('duplicated');
          queue.duplicate(name, key, rng.below(15_000));
        }),
      pull: async (name, options) => {
        await this.sleep(this.latencyMs());
        const signal = this.untilDeathOr(options.signal);
        const delivery = await queue.pull(name, { ...options, signal });
        await this.sleep(1);
        if (delivery === undefined) return undefined;
        if (delivery.attempt > 1) counts.add('redelivered');
        return this.faultyDelivery(delivery);
      },
      prepare: (name, options) => this.call(() => queue.prepare(name, options)),
      keys: (name, lane) => this.call(() => queue.keys(name, lane)),
      depth: (name) => this.call(() => queue.depth(name)),
      deadLetters: (name, limit) => this.call(() => queue.deadLetters(name, limit)),
      deadLetterCounts: () => this.call(() => queue.deadLetterCounts()),
      close: () => queue.close(),
    };
  }

  /** One combined signal per stop signal: a new one for each pull took a tenth of the simulation's time. */
  private untilDeathOr(signal: AbortSignal | undefined): AbortSignal {
    if (signal === undefined) return this.death.signal;
    const known = this.ends.get(signal) ?? AbortSignal.any([this.death.signal, signal]);
    this.ends.set(signal, known);
    return known;
  }

  private faultyDelivery(delivery: Delivery): Delivery {
    const { counts } = this.weather;
    return {
      ...delivery,
      heartbeat: () => this.call(() => delivery.heartbeat()),
      ack: () => {
        if (!this.hit(RATES.ackLost)) return this.call(() => delivery.ack());
        counts.add('acknowledgement lost');
        return Promise.resolve();
      },
      nak: (delayMs) => this.call(() => delivery.nak(delayMs)),
      terminate: (reason) => this.call(() => delivery.terminate(reason)),
    };
  }

  /** Only checkpoints rot here: what a job must survive; a damaged result is nobody's to make again. */
  private async readOrRot(blobs: Blobs, digest: BlobDigest): Promise<Uint8Array> {
    const { rng, stormy, counts } = this.weather;
    const bytes = await blobs.read(digest);
    const isCheckpoint = new TextDecoder('latin1').decode(bytes.subarray(0, 4)) === 'HDLC';
    if (!isCheckpoint || !stormy || rng.uniform() >= RATES.rotted) return bytes;
    counts.add('checkpoint rotted');
    await blobs.remove(digest); // for good, whoever asks
    throw dataLoss(`blob ${digest} is damaged`);
  }

  private faultyBlobs(blobs: Blobs): Blobs {
    return {
      put: (source) => this.call(() => blobs.put(source)),
      get: (digest) => blobs.get(digest),
      read: (digest) => this.call(() => this.readOrRot(blobs, digest)),
      stat: (digest) => this.call(() => blobs.stat(digest)),
      remove: (digest, options) => this.call(() => blobs.remove(digest, options)),
      list: () => blobs.list(),
    };
  }
}
