import type { SparsePairs } from './sparse-kernels.ts';

/** One list of pairs, where its sum starts and how its error counts. */
export interface Weighted {
  readonly pairs: SparsePairs;
  /** `[token, d_model]`. */
  readonly start: Float64Array;
  /** `[token]`, 0 on tokens that do not count. */
  readonly weight: Float64Array;
  readonly scale: number;
}

/** Visits every pair of a token that counts: z, its token, its head. */
export function eachPair(
  { pairs: { indices, values }, weight }: Pick<Weighted, 'pairs' | 'weight'>,
  visit: (z: number, token: number, head: number) => void,
): void {
  const slots = indices.shape[1];
  values.data.forEach((z, place) => {
    const token = Math.floor(place / slots);
    if (z !== 0 && weight[token] !== 0) visit(z, token, indices.data[place]);
  });
}

export function sumOfSquares(values: ArrayLike<number>): number {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += values[at] * values[at];
  return sum;
}
