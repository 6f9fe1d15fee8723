import { assert, Rng } from '@heddle/core';
import {
  drawText,
  GUESS_WEIGHT,
  PERIOD_MIN,
  repeatedSequence,
  type Task,
  type TaskSizes,
  type Text,
  wholeText,
} from '@heddle/interp/tasks';
import type { BpeEncoder } from './bpe.ts';

/** What a phase of training reads: shares of rows' texts, and how hard they are. */
export interface Mixture extends TaskSizes {
  readonly shares: Readonly<Record<Task, number>>;
  /**
   * Share of rows that begin at a random place of the context instead of at 0, so that later positions are learned from
   * short rows. Only once the circuits stand: from the start it doubles the steps that induction takes to appear.
   */
  readonly laterStarts: number;
}

/** Rows of token ids with what each must foretell and how much that counts. */
export interface Batch {
  readonly batch: number;
  readonly pos: number;
  /** `[batch, pos]` */
  readonly tokens: Int32Array;
  /** The token after each, `[batch, pos]`. */
  readonly targets: Int32Array;
  /** Weight of each target in the loss, `[batch, pos]`. */
  readonly weights: Float32Array;
  /** Place of each token in the context, `[batch, pos]`. */
  readonly positions: Int32Array;
}

/** Texts tried for the rest of a row before it is filled with a repeated sequence, which fits any length. */
const FITS_MAX = 4;

/**
 * The batch of one training step, from the seed and the step alone: resuming needs no other cursor. A row packs whole
 * texts with an end-of-text between them; half of the rows also begin with one, so that prompts work with and without.
 */
export function trainingBatch(
  encoder: BpeEncoder,
  mixture: Mixture,
  at: {
    readonly seed: number;
    readonly step: number;
    readonly batch: number;
    readonly pos: number;
    readonly n_ctx: number;
  },
): Batch {
  const { batch, pos } = at;
  // 2^20 steps per seed: no two (seed, step) share a stream.
  assert(at.step < 2 ** 20);
  const rng = new Rng(at.seed * 2 ** 20 + at.step);
  const tokens = new Int32Array(batch * pos);
  const targets = new Int32Array(batch * pos);
  const weights = new Float32Array(batch * pos);
  const positions = new Int32Array(batch * pos);
  for (let row = 0; row < batch; row++) {
    const packed = packRow(rng, encoder, mixture, pos + 1);
    tokens.set(packed.ids.slice(0, pos), row * pos);
    targets.set(packed.ids.slice(1), row * pos);
    weights.set(packed.weights.slice(1), row * pos);
    const moved = mixture.laterStarts > 0 && rng.uniform() < mixture.laterStarts;
    const start = moved ? rng.below(at.n_ctx - pos + 1) : 0;
    for (let i = 0; i < pos; i++) positions[row * pos + i] = start + i;
  }
  return { batch, pos, tokens, targets, weights, positions };
}

export interface Encoded {
  readonly text: string;
  readonly ids: readonly number[];
  readonly weights: readonly number[];
  /** Indices of the tokens that are answers. */
  readonly answers: readonly number[];
}

export function encodeText(encoder: BpeEncoder, text: Text): Encoded {
  const ids: number[] = [];
  const weights: number[] = [];
  const answers: number[] = [];
  for (const piece of text) {
    for (const id of encoder.encode(piece.text)) {
      if (piece.answer) answers.push(ids.length);
      ids.push(id);
      weights.push(piece.weight);
    }
  }
  return { text: wholeText(text), ids, weights, answers };
}

function packRow(
  rng: Rng,
  encoder: BpeEncoder,
  mixture: Mixture,
  length: number,
): { ids: number[]; weights: number[] } {
  const ids: number[] = [];
  const weights: number[] = [];
  const end = () => {
    ids.push(encoder.endOfText);
    weights.push(GUESS_WEIGHT);
  };
  if (rng.below(2) === 0) end();
  while (ids.length < length) {
    const text = fittingText(rng, encoder, mixture, length - ids.length);
    ids.push(...text.ids);
    weights.push(...text.weights);
    if (ids.length < length) end();
  }
  return { ids, weights };
}

/** A text of the mixture that fits into the room left, else a repeated sequence that fills it. */
function fittingText(rng: Rng, encoder: BpeEncoder, mixture: Mixture, room: number): Encoded {
  for (let i = 0; i < FITS_MAX; i++) {
    const task = pickTask(rng, mixture);
    if (task === 'repeat') break;
    const text = encodeText(encoder, drawText(rng, 'train', task, mixture));
    if (text.ids.length <= room) return text;
  }
  const longest = Math.max(PERIOD_MIN, room >> 1);
  const period = PERIOD_MIN + rng.below(longest - PERIOD_MIN + 1);
  // A whole number of copies would teach the length; an end anywhere teaches none.
  const length = Math.min(room, 2 * period + rng.below(2 * period));
  return encodeText(encoder, repeatedSequence(rng, 'train', { period, length }));
}

function pickTask(rng: Rng, mixture: Mixture): Task {
  const shares = Object.entries(mixture.shares) as [Task, number][];
  let u = rng.uniform() * shares.reduce((sum, [, share]) => sum + share, 0);
  for (const [task, share] of shares) {
    u -= share;
    if (u < 0) return task;
  }
  return 'repeat';
}
