import { OperationError, Rng } from '@heddle/core';

/** One call of a load: when it should have begun, and how it ended. */
export interface Sample {
  /** Since the load began: when the arrival was due, whether or not the generator was in time. */
  readonly dueMs: number;
  /** From when it was due to its end: a generator or a server that falls behind cannot hide it. */
  readonly latencyMs: number;
  /** `ok`, or the code that it was refused or failed with. */
  readonly code: string;
  /** What a refusal said: come again after. */
  readonly retryAfterMs?: number;
  /** The text of an error. */
  readonly message?: string;
}

export interface OpenLoopOptions {
  readonly ratePerS: number;
  readonly seconds: number;
  readonly seed: number;
  /** Milliseconds of a clock that never goes back. */
  readonly now: () => number;
  /** Told when a call is over. */
  readonly onSample: (sample: Sample) => void;
  /** Ends the load early: no more arrivals. */
  readonly signal?: AbortSignal;
}

/** How often arrivals that are due are sent off; each keeps the moment that it was due at. */
const TICK_MS = 5;

/**
 * Calls that arrive by themselves, as customers do: Poisson at a rate, whatever became of those before. A loop that waits for
 * an answer before it asks again would ask less of a slow server, and measure only the calls that it was given time for.
 */
export async function openLoop(
  call: (index: number) => Promise<unknown>,
  { ratePerS, seconds, seed, now, onSample, signal }: OpenLoopOptions,
): Promise<void> {
  const rng = new Rng(seed);
  const startMs = now();
  const gapMs = () => (-Math.log(1 - rng.uniform()) * 1000) / ratePerS;
  const open = new Set<Promise<void>>();
  let dueMs = gapMs();
  for (let index = 0; dueMs < seconds * 1000 && signal?.aborted !== true; ) {
    for (; dueMs <= now() - startMs && dueMs < seconds * 1000; dueMs += gapMs()) {
      const each = measured(call, index++, { dueMs, startMs, now }).then((sample) => {
        open.delete(each);
        onSample(sample);
      });
      open.add(each);
    }
    await new Promise((resolve) => setTimeout(resolve, TICK_MS));
  }
  await Promise.all(open);
}

/** As many callers as said, each asking again when it has its answer, or when a refusal said to: what a server can do at most. */
export async function closedLoop(
  call: (index: number) => Promise<unknown>,
  {
    callers,
    seconds,
    now,
    onSample,
  }: Pick<OpenLoopOptions, 'seconds' | 'now' | 'onSample'> & {
    readonly callers: number;
  },
): Promise<void> {
  const startMs = now();
  let index = 0;
  const caller = async (): Promise<void> => {
    for (let dueMs = 0; dueMs < seconds * 1000; dueMs = now() - startMs) {
      const sample = await measured(call, index++, { dueMs, startMs, now });
      onSample(sample);
      const { retryAfterMs = 0 } = sample;
      if (retryAfterMs > 0) await new Promise((resolve) => setTimeout(resolve, retryAfterMs));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

async function measured(
  call: (index: number) => Promise<unknown>,
  index: number,
  { dueMs, startMs, now }: { readonly dueMs: number; readonly startMs: number; now(): number },
): Promise<Sample> {
  try {
    await call(index);
    return { dueMs, latencyMs: now() - startMs - dueMs, code: 'ok' };
  } catch (thrown) {
    const { code, retryAfterMs, message } = OperationError.from(thrown);
    const delay = retryAfterMs === undefined ? {} : { retryAfterMs };
    return { dueMs, latencyMs: now() - startMs - dueMs, code, message, ...delay };
  }
}

/** The value that this part of all lies at or below; NaN of none. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(part * sorted.length) - 1)] ?? Number.NaN;
}
