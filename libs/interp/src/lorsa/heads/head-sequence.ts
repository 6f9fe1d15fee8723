import { assert } from '@heddle/core';

/** Where heads looked in one sequence. */
export interface HeadAttention {
  /** A of the shared heads, `[qk_head, query_pos, key_pos]`. */
  readonly pattern: ArrayLike<number>;
  /** v of the rank-one heads with b_V, `[pos, ov_head]`. */
  readonly values: ArrayLike<number>;
  /** Positions of the two arrays: the sequence's length, or more where it was padded. */
  readonly pos: number;
  readonly qkHeads: number;
  readonly ovHeads: number;
}

/**
 * What the heads of a layer did on one sequence: the K winners of each token and their activations, never a dense
 * `[pos, ov_head]`. Features of an SAE come in the same form, without attention.
 */
export interface HeadSequence {
  /** Its place in the text, unique: samples name it and ties go by it, so that nothing depends on batches or order. */
  readonly index: number;
  /** Ids, one for each position. */
  readonly tokens: ArrayLike<number>;
  /** 0: stays a key, counts in nothing (special tokens). */
  readonly valid: ArrayLike<number | boolean>;
  /** K: winners per token. */
  readonly slots: number;
  /** `[pos, feature]`, feature = K. */
  readonly winners: ArrayLike<number>;
  /** z `[pos, feature]`; 0 where a winner is not active. */
  readonly acts: ArrayLike<number>;
  readonly attention?: HeadAttention | undefined;
}

/** Calls back for every active head of every valid token, in the order of positions and slots. */
export function forEachActive(
  sequence: HeadSequence,
  visit: (head: number, position: number, z: number) => void,
): void {
  const { tokens, valid, slots, winners, acts } = sequence;
  assert(winners.length >= tokens.length * slots, 'winners of every token');
  for (let t = 0; t < tokens.length; t++) {
    if (!valid[t]) continue;
    for (let at = t * slots; at < (t + 1) * slots; at++) {
      if (acts[at] !== 0) visit(winners[at], t, acts[at]);
    }
  }
}

export interface HeadRow {
  /** zp(t, s) for s from 0 to t: sums to z̃ (1.11). */
  readonly zPattern: Float64Array;
  /** A(t, s) for the same s. */
  readonly pattern: Float64Array;
}

/** *Where a head's activation at one position comes from*: zp(t, s) = A^{h(i)}(t, s) v_s beside A(t, s). */
export function zRow(
  attention: HeadAttention,
  head: number,
  position: number,
  into?: HeadRow,
): HeadRow {
  const { pattern, values, pos, qkHeads, ovHeads } = attention;
  assert(position < pos, () => `position ${position} of ${pos}`);
  const length = position + 1;
  const row = into ?? { zPattern: new Float64Array(length), pattern: new Float64Array(length) };
  const qk = Math.floor(head / (ovHeads / qkHeads));
  const from = (qk * pos + position) * pos;
  for (let s = 0; s < length; s++) {
    const a = pattern[from + s];
    row.pattern[s] = a;
    row.zPattern[s] = a * values[s * ovHeads + head];
  }
  return row;
}
