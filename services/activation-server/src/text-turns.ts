import { OperationError, resourceExhausted } from '@heddle/core';
import type { Clock } from '@heddle/ports';

interface Turn {
  readonly bytes: number;
  run(): void;
}

export interface TextTurnsLimits {
  /** Estimated time until what waits is done, past which more is refused. */
  readonly waitMsMax: number;
  /** A text of at most so much is read as it comes: it takes less than its place in a queue would. */
  readonly atOnceBytes: number;
  /** How long turns follow each other before the event loop has its own. */
  readonly sliceMs: number;
}

/** Before any was read: a slow machine's. */
const FIRST_SPEED = { ms: 1, bytes: 1000 };
const SPEED_KEPT = 0.98;
/** Turns of the loop for arrivals between two slices: enough for all that a full process may hold, and an end. */
const ARRIVAL_TURNS_MAX = 64;

/**
 * Reading text takes the event loop's own time, which nothing interrupts: a second of it is a second in which nobody is answered, nor
 * refused. So it is done in turns, in the order of arrival, with the loop let go in between; and who would wait too long is told.
 */
export class TextTurns {
  private readonly clock: Pick<Clock, 'monotonic' | 'sleep'>;
  private readonly limits: TextTurnsLimits;
  private readonly turns: Turn[] = [];
  private bytes = 0;
  private asked = 0;
  private speed = FIRST_SPEED;
  private busy = false;

  constructor(clock: Pick<Clock, 'monotonic' | 'sleep'>, limits: TextTurnsLimits) {
    this.clock = clock;
    this.limits = limits;
  }

  /** Errors: `resource_exhausted` with a delay; the signal's reason; those of `body`. */
  async take<T>(bytes: number, signal: AbortSignal, body: () => T): Promise<T> {
    if (bytes <= this.limits.atOnceBytes) return body();
    this.asked += 1;
    const waitMs = (this.bytes * this.speed.ms) / this.speed.bytes;
    if (this.turns.length > 0 && waitMs > this.limits.waitMsMax) {
      throw resourceExhausted(
        `${this.turns.length} texts of ${this.bytes} bytes wait to be read; try again later`,
        {
          retryAfterMs: Math.ceil(waitMs),
          details: { limit: this.limits.waitMsMax, waiting: this.turns.length },
        },
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const run = (): void => {
      try {
        if (signal.aborted) throw OperationError.from(signal.reason);
        resolve(body());
      } catch (thrown) {
        reject(thrown);
      }
    };
    this.turns.push({ bytes, run });
    this.bytes += bytes;
    if (!this.busy) void this.work();
    return promise;
  }

  private async work(): Promise<void> {
    this.busy = true;
    let beforeMs = this.clock.monotonic();
    while (this.turns.length > 0) {
      await this.arrivals();
      const startMs = this.clock.monotonic();
      let [bytes, endMs] = [0, startMs];
      do {
        const turn = this.turns.shift();
        if (turn === undefined) break;
        turn.run();
        this.bytes -= turn.bytes;
        bytes += turn.bytes;
        endMs = this.clock.monotonic();
      } while (endMs - startMs < this.limits.sliceMs);
      // With what the loop took for others: that is waited for too.
      this.learn(bytes, endMs - beforeMs);
      beforeMs = endMs;
    }
    this.busy = false;
  }

  /**
   * Lets the loop turn until it brings nobody more. One turn reads 64 KiB of a connection: with one text read in each, all that
   * wait would wait in sockets, where nobody is told anything.
   */
  private async arrivals(): Promise<void> {
    for (let turn = 0, before = -1; turn < ARRIVAL_TURNS_MAX && this.asked !== before; turn++) {
      before = this.asked;
      await this.clock.sleep(0);
    }
  }

  private learn(bytes: number, ms: number): void {
    const { speed } = this;
    this.speed = { ms: speed.ms * SPEED_KEPT + ms, bytes: speed.bytes * SPEED_KEPT + bytes };
  }
}
