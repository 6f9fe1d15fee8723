/** A ratio of two sums with its standard error. */
export interface Ratio {
  readonly value: number;
  /** NaN with fewer than two groups that count. */
  readonly error: number;
}

/**
 * Σa / Σb and its standard error over independent groups (documents), to first order:
 * √(n/(n−1) Σ (a_g − r b_g)²) / |Σb|. Groups with neither are not there. Value NaN where Σb is 0.
 */
export function ratio(a: ArrayLike<number>, b: ArrayLike<number>): Ratio {
  let [top, bottom, groups] = [0, 0, 0];
  for (let g = 0; g < a.length; g++) {
    top += a[g];
    bottom += b[g];
    if (a[g] !== 0 || b[g] !== 0) groups++;
  }
  const value = bottom === 0 ? Number.NaN : top / bottom;
  let squares = 0;
  for (let g = 0; g < a.length; g++) squares += (a[g] - value * b[g]) ** 2;
  const error =
    groups < 2 ? Number.NaN : Math.sqrt((groups / (groups - 1)) * squares) / Math.abs(bottom);
  return { value, error };
}
