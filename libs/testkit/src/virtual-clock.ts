import { assert } from '@heddle/core';
import type { Clock } from '@heddle/ports';

interface Timer {
  readonly atMs: number;
  /** Among equals the first to be set fires first. */
  readonly order: number;
  fire: (() => void) | undefined;
}

/** A run that nothing is left for gives up after so many turns of the loop, and so much real time. */
const IDLE_TURNS = 5_000;
const IDLE_REAL_MS = 30_000;

/**
 * Time that only moves when told. Timers fire one by one in order of time, and after each everything that it set off
 * has run (promises, not real I/O) before the next: the same calls give the same history.
 */
export class VirtualClock implements Clock {
  private readonly heap: Timer[] = [];
  private readonly startMs: number;
  private timeMs = 0;
  private order = 0;

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.startMs = startMs;
  }

  now(): number {
    return this.startMs + this.timeMs;
  }

  monotonic(): number {
    return this.timeMs;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        timer.fire = undefined;
        signal?.removeEventListener('abort', end);
        resolve();
      };
      const timer: Timer = {
        atMs: this.timeMs + Math.max(0, ms),
        order: this.order++,
        fire: end,
      };
      this.push(timer);
      signal?.addEventListener('abort', end, { once: true });
    });
  }

  /** Moves on by `ms`, firing what falls due. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.timeMs + ms;
    await turn();
    for (let next = this.heap[0]; next !== undefined; next = this.heap[0]) {
      if (next.atMs > untilMs) break;
      await this.step();
    }
    this.timeMs = Math.max(this.timeMs, untilMs);
    await turn();
  }

  /** Fires the next timer, whenever it is. False: there is none. */
  async step(): Promise<boolean> {
    for (let next = this.pop(); next !== undefined; next = this.pop()) {
      const { fire } = next;
      if (fire === undefined) continue; // ended early: costs no turn
      this.timeMs = Math.max(this.timeMs, next.atMs);
      fire();
      await turn();
      return true;
    }
    return false;
  }

  /** Moves on until the promise is settled. Fails when that takes longer than `withinMs`, or nothing is left to wait for. */
  async run<T>(promise: Promise<T>, withinMs = 3_600_000): Promise<T> {
    const untilMs = this.timeMs + withinMs;
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await turn();
    let idleSinceMs = performance.now();
    for (let idle = 0; !settled; ) {
      assert(this.timeMs <= untilMs, () => `not settled within ${withinMs} virtual ms`);
      idle = (await this.step()) ? 0 : idle + 1;
      // Something real (a file, another thread) may still be under way, on a machine that does much else: it gets some thousand
      // turns of the loop, and real time besides.
      if (idle === 0) idleSinceMs = performance.now();
      const isLost = idle >= IDLE_TURNS && performance.now() - idleSinceMs > IDLE_REAL_MS;
      assert(!isLost, 'nothing left to wait for, and not settled');
      if (idle > 0) await (idle < IDLE_TURNS ? turn() : breath());
    }
    return promise;
  }

  private push(timer: Timer): void {
    const { heap } = this;
    let i = heap.push(timer) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(timer, heap[parent] as Timer)) break;
      heap[i] = heap[parent] as Timer;
      i = parent;
    }
    heap[i] = timer;
  }

  private pop(): Timer | undefined {
    const { heap } = this;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      const right = heap[child + 1];
      if (right !== undefined && before(right, heap[child] as Timer)) child += 1;
      if (!before(heap[child] as Timer, last)) break;
      heap[i] = heap[child] as Timer;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Leaves the processor to whatever is real. */
function breath(): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, 1);
  });
}

/** Lets every promise that can go on do so. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
