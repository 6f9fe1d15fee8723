import { assert } from '@heddle/core';

/** Sums over valid tokens from which every figure follows; adding is associative up to rounding, so parts can be merged. */
export interface LorsaSums {
  readonly tokens: number;
  /** Σ‖y − ŷ‖² and Σ‖y‖². */
  readonly error: number;
  readonly square: number;
  /** Σ y, `[d_model]`. */
  readonly total: Float64Array;
  /** Σ number of active heads. */
  readonly active: number;
}

export interface LorsaFigures {
  /** Fraction of variance unexplained, pooled: Σ‖y − ŷ‖² / Σ‖y − ȳ‖², ȳ the mean over these tokens. */
  readonly fvu: number;
  readonly ev: number;
  /** Mean squared error per token in normalised units: the training loss. */
  readonly loss: number;
  /** Mean number of active heads per token. */
  readonly l0: number;
}

export function emptySums(d_model: number): LorsaSums {
  return { tokens: 0, error: 0, square: 0, total: new Float64Array(d_model), active: 0 };
}

export function addSums(a: LorsaSums, b: LorsaSums): LorsaSums {
  assert(a.total.length === b.total.length, 'sums of different widths do not add');
  return {
    tokens: a.tokens + b.tokens,
    error: a.error + b.error,
    square: a.square + b.square,
    total: a.total.map((sum, d) => sum + b.total[d]),
    active: a.active + b.active,
  };
}

interface Measured {
  readonly y: ArrayLike<number>;
  readonly reconstruction: ArrayLike<number>;
  readonly featureActs: ArrayLike<number>;
  /** Zero excludes the token: padding and special tokens count nowhere. */
  readonly valid: ArrayLike<number | boolean>;
}

/** Sums of a batch: y, ŷ `[token, d_model]`, z `[token, ov_head]`. */
export function measure(
  d_model: number,
  { y, reconstruction, featureActs, valid }: Measured,
): LorsaSums {
  const heads = featureActs.length / valid.length;
  const total = new Float64Array(d_model);
  let tokens = 0;
  let error = 0;
  let square = 0;
  let active = 0;
  for (let t = 0; t < valid.length; t++) {
    if (!valid[t]) continue;
    tokens++;
    for (let d = 0; d < d_model; d++) {
      const at = t * d_model + d;
      error += (y[at] - reconstruction[at]) ** 2;
      square += y[at] ** 2;
      total[d] += y[at];
    }
    for (let i = 0; i < heads; i++) if (featureActs[t * heads + i] !== 0) active++;
  }
  return { tokens, error, square, total, active };
}

/** The figures of some sums. Asserts that a token was counted; FVU is NaN when y never varies. */
export function figures(sums: LorsaSums): LorsaFigures {
  assert(sums.tokens > 0, 'no token was measured');
  const mean = sums.total.reduce((norm, sum) => norm + sum * sum, 0) / sums.tokens;
  const fvu = sums.error / (sums.square - mean);
  return {
    fvu,
    ev: 1 - fvu,
    loss: sums.error / sums.tokens,
    l0: sums.active / sums.tokens,
  };
}

/** Tokens since each head last fired; a head is dead once that reaches the threshold. */
export interface DeadCounter {
  /** `[ov_head]`. */
  readonly silentTokens: Float64Array;
}

export function countSilence(
  counter: DeadCounter,
  fired: ArrayLike<number>,
  tokens: number,
): DeadCounter {
  return {
    silentTokens: counter.silentTokens.map((silent, i) => (fired[i] > 0 ? 0 : silent + tokens)),
  };
}

export function deadHeads(counter: DeadCounter, thresholdTokens: number): number {
  return counter.silentTokens.reduce((n, silent) => n + (silent >= thresholdTokens ? 1 : 0), 0);
}

/** A head active on more than this share of tokens is dense: it says little about any one of them (methods 1.8). */
export const DENSE_FREQUENCY = 0.1;
