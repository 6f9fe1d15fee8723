import { assert } from '@heddle/core';

/**
 * *Area under the ROC curve*: the chance that a positive scores higher than a negative, ties half:
 *
 *   AUROC = Σ_{p, n} ([score_p > score_n] + ½ [score_p = score_n]) / (P · N)
 *
 * ½ is chance, 1 perfect; NaN without a positive or without a negative. `positive` holds the indices of the positives, each once,
 * in any order; scores are finite. Cost: n log P, because only the positives are sorted.
 */
export function auroc(scores: Float64Array, positive: ArrayLike<number>): number {
  const P = positive.length;
  const N = scores.length - P;
  assert(N >= 0, () => `${P} positives of ${scores.length}`);
  if (P === 0 || N === 0) return Number.NaN;
  const sorted = Float64Array.from(positive, (at) => scores[at]).sort();
  // Wins of all tokens over the positives' places, minus those of the positives over each other, which are ½ P² in all.
  let above = 0;
  for (let t = 0; t < scores.length; t++) {
    const [lower, upper] = bounds(sorted, scores[t]);
    above += P - upper + 0.5 * (upper - lower);
  }
  return (above - 0.5 * P * P) / (P * N);
}

/** How many of the sorted values are smaller than x, and how many are not larger. */
function bounds(sorted: Float64Array, x: number): readonly [number, number] {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] < x) low = middle + 1;
    else high = middle;
  }
  if (low === sorted.length || sorted[low] !== x) return [low, low];
  let end = sorted.length;
  let from = low;
  while (from < end) {
    const middle = (from + end) >> 1;
    if (sorted[middle] <= x) from = middle + 1;
    else end = middle;
  }
  return [low, end];
}

/** A mean over heads with the 95 % interval that a normal approximation gives; heads without a value are left out. */
export interface MeanInterval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly heads: number;
}

/** NaN throughout when no head has a value; low = high = mean for one. */
export function meanInterval(values: ArrayLike<number>): MeanInterval {
  const known = Array.from(values).filter((value) => !Number.isNaN(value));
  const heads = known.length;
  const mean = known.reduce((sum, value) => sum + value, 0) / heads;
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const half = heads > 1 ? 1.96 * Math.sqrt(squares / (heads - 1) / heads) : 0;
  return { mean, low: mean - half, high: mean + half, heads };
}
