import { present } from '@heddle/core';
import type { Effect, Message, Refusal, Waiting } from './messages.ts';

export interface Limits {
  readonly batchTokensMax: number;
  readonly batchPromptsMax: number;
  readonly batchBytesMax: number;
  readonly waitingPromptsMax: number;
  /** Estimated time until all that waits is done, past which new work is refused. */
  readonly waitingMsMax: number;
}

export interface State {
  readonly limits: Limits;
  /** In the order in which they came. */
  readonly waiting: readonly Waiting[];
  /** The batch in the engine, and the runs that still want it. */
  readonly running: { readonly wantedBy: ReadonlySet<number>; readonly flops: number } | undefined;
  /** Of recent batches, the older the less: what they took and what they were. */
  readonly speed: { readonly ms: number; readonly flops: number };
}

/** Before anything ran: one core of a laptop, believed as much as a second of work. */
const FIRST_SPEED = { ms: 1000, flops: 2e10 };
/** What a batch still counts for after the next: some ten batches make the estimate. */
const SPEED_KEPT = 0.9;
/** A batch that opened sessions took many times its share, once. If it stays so, the estimate follows within a few batches. */
const SURPRISE_MAX = 4;

export const idle = (limits: Limits): State => ({
  limits,
  waiting: [],
  running: undefined,
  speed: FIRST_SPEED,
});

type Step = readonly [State, readonly Effect[]];

/**
 * Decides which prompts go to the engine together. One batch at a time: while it runs, prompts of all callers gather, and the oldest
 * then takes along those that fit it. So nobody waits for a batch to fill, and a busy server has full ones.
 */
export function transition(state: State, message: Message): Step {
  const { waiting, running } = state;
  switch (message.type) {
    case 'submit': {
      const { run, caller, prompts, underWay } = message;
      const refusal = underWay ? undefined : refusalOf(state, caller, prompts.length);
      if (refusal) return [state, [{ type: 'refuse', run, refusal }]];
      return start({ ...state, waiting: [...waiting, ...prompts] });
    }
    case 'withdraw': {
      const left = { ...state, waiting: waiting.filter((prompt) => prompt.run !== message.run) };
      if (!running?.wantedBy.has(message.run)) return [left, []];
      const wantedBy = new Set(running.wantedBy);
      wantedBy.delete(message.run);
      const stopped: readonly Effect[] = wantedBy.size === 0 ? [{ type: 'stop' }] : [];
      return [{ ...left, running: { ...running, wantedBy } }, stopped];
    }
    case 'finished': {
      const { ms } = message;
      const known = running && ms !== undefined ? learn(state, running.flops, ms) : state;
      return start({ ...known, running: undefined });
    }
  }
}

/**
 * Why new prompts of a caller cannot wait here now; undefined when they can. What bounds is time: when all that waits will be
 * done, by the speed of recent batches. An idle queue takes anything, since nobody can wait for less. Past the bound, who has less
 * than an equal share of it waiting is still taken, so that a flood of one caller does not lock the others out; with `n` callers
 * the queue is then at most `1 + 1/2 + … + 1/n` bounds long.
 */
export function refusalOf(state: State, caller: string, count = 1): Refusal | undefined {
  const { waiting, running, limits } = state;
  if (waiting.length + count > limits.waitingPromptsMax) {
    return { reason: 'prompts', waiting: waiting.length, waitMs: estimateMs(state, waiting) };
  }
  if (waiting.length === 0) return undefined;
  const waitMs = estimateMs(state, waiting) + msOf(state, running?.flops ?? 0);
  if (waitMs <= limits.waitingMsMax) return undefined;
  const own = waiting.filter((prompt) => prompt.caller === caller);
  const callers = new Set(waiting.map((prompt) => prompt.caller)).add(caller).size;
  if (callers > 1 && estimateMs(state, own) <= limits.waitingMsMax / callers) return undefined;
  return { reason: 'time', waiting: waiting.length, waitMs };
}

const estimateMs = (state: State, prompts: readonly Waiting[]): number =>
  msOf(
    state,
    prompts.reduce((sum, prompt) => sum + prompt.flops, 0),
  );

const msOf = ({ speed }: State, flops: number): number => (flops * speed.ms) / speed.flops;

function learn(state: State, flops: number, ms: number): State {
  const { speed } = state;
  const believed = Math.min(ms, SURPRISE_MAX * msOf(state, flops));
  const next = { ms: speed.ms * SPEED_KEPT + believed, flops: speed.flops * SPEED_KEPT + flops };
  return { ...state, speed: next };
}

function start(state: State): Step {
  if (state.running || state.waiting.length === 0) return [state, []];
  const prompts = chooseBatch(state.waiting, state.limits);
  const chosen = new Set(prompts);
  const wantedBy = new Set(prompts.map((prompt) => prompt.run));
  const flops = prompts.reduce((sum, prompt) => sum + prompt.flops, 0);
  const waiting = state.waiting.filter((prompt) => !chosen.has(prompt));
  return [{ ...state, waiting, running: { wantedBy, flops } }, [{ type: 'run', prompts }]];
}

/** The oldest prompt and, in order, what may share a batch with it: the same key, about its length, within the limits. */
function chooseBatch(waiting: readonly Waiting[], limits: Limits): readonly Waiting[] {
  const oldest = present(waiting[0], 'the oldest prompt');
  const batch: Waiting[] = [];
  let longest = 0;
  let bytes = 0;
  for (const prompt of waiting) {
    if (!sharesBatch(oldest, prompt)) continue;
    const count = batch.length + 1;
    const padded = Math.max(longest, prompt.length);
    bytes = Math.max(bytes, prompt.bytes);
    const fits =
      count <= limits.batchPromptsMax &&
      count * padded <= limits.batchTokensMax &&
      count * padded * bytes <= limits.batchBytesMax;
    if (count > 1 && !fits) break;
    longest = padded;
    batch.push(prompt);
  }
  return batch;
}

const sharesBatch = (a: Waiting, b: Waiting): boolean =>
  a.key === b.key && a.alone === b.alone && bucketOf(a.length) === bucketOf(b.length);

/** Lengths within a bucket differ by less than a quarter, which bounds what padding costs. */
export function bucketOf(length: number): number {
  if (length <= 8) return 8;
  const octave = 2 ** Math.floor(Math.log2(length - 1));
  return octave + (octave / 4) * Math.ceil((length - octave) / (octave / 4));
}
