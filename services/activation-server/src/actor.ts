import { present } from '@heddle/core';
import type { Effect, Message, Waiting } from './messages.ts';

export interface Limits {
  readonly batchTokensMax: number;
  readonly batchPromptsMax: number;
  readonly batchBytesMax: number;
  readonly waitingPromptsMax: number;
}

export interface State {
  readonly limits: Limits;
  /** In the order in which they came. */
  readonly waiting: readonly Waiting[];
  /** The batch in the engine, and the runs that still want it. */
  readonly running: { readonly wantedBy: ReadonlySet<number> } | undefined;
}

export const idle = (limits: Limits): State => ({ limits, waiting: [], running: undefined });

type Step = readonly [State, readonly Effect[]];

/**
 * Decides which prompts go to the engine together. One batch at a time: while it runs, prompts of all callers gather, and the oldest
 * then takes along those that fit it. So nobody waits for a batch to fill, and a busy server has full ones.
 */
export function transition(state: State, message: Message): Step {
  const { waiting, running, limits } = state;
  switch (message.type) {
    case 'submit': {
      if (waiting.length + message.prompts.length > limits.waitingPromptsMax) {
        return [state, [{ type: 'refuse', run: message.run, waiting: waiting.length }]];
      }
      return start({ ...state, waiting: [...waiting, ...message.prompts] });
    }
    case 'withdraw': {
      const left = { ...state, waiting: waiting.filter((prompt) => prompt.run !== message.run) };
      if (!running?.wantedBy.has(message.run)) return [left, []];
      const wantedBy = new Set(running.wantedBy);
      wantedBy.delete(message.run);
      return [{ ...left, running: { wantedBy } }, wantedBy.size === 0 ? [{ type: 'stop' }] : []];
    }
    case 'finished':
      return start({ ...state, running: undefined });
  }
}

function start(state: State): Step {
  if (state.running || state.waiting.length === 0) return [state, []];
  const prompts = chooseBatch(state.waiting, state.limits);
  const chosen = new Set(prompts);
  const wantedBy = new Set(prompts.map((prompt) => prompt.run));
  const waiting = state.waiting.filter((prompt) => !chosen.has(prompt));
  return [{ ...state, waiting, running: { wantedBy } }, [{ type: 'run', prompts }]];
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
