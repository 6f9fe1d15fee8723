import { assert } from '@heddle/core';
import { firstColumns, type Matrix, multiply, requireFinite, rowOf, transpose } from './matrix.ts';
import { svd } from './svd.ts';

export interface Pca {
  /** d entries. */
  readonly mean: Float64Array;
  /** k × d: principal directions as orthonormal rows, strongest first. */
  readonly components: Matrix;
  /** Variance along each direction, with n − 1 in the denominator, descending. */
  readonly variances: Float64Array;
  /** n × k: the centred samples in the principal directions. */
  readonly scores: Matrix;
}

/**
 * *Principal component analysis*, samples as rows: `X − mean = U S Vᵀ`, directions `Vᵀ`, variances
 * `S² / (n − 1)`, scores `(X − mean) V`. `X` n × d, k ≤ min(n, d), n ≥ 2. Signs as in `svd`.
 * Refuses non-finite elements.
 */
export function pca(x: Matrix, count = Math.min(x.rows, x.cols), name = 'X'): Pca {
  assert(x.rows >= 2, () => `${name} has ${x.rows} samples; a variance takes two`);
  assert(count <= Math.min(x.rows, x.cols), () => `${count} components of ${x.rows} × ${x.cols}`);
  requireFinite(x, name);
  const mean = columnMeans(x);
  const centred = { ...x, data: x.data.map((value, i) => value - mean[i % x.cols]) };
  const { S, V } = svd(centred, name);
  const directions = firstColumns(V, count);
  return {
    mean,
    components: transpose(directions),
    variances: S.slice(0, count).map((value) => value ** 2 / (x.rows - 1)),
    scores: multiply(centred, directions),
  };
}

/** The mean of each column: d entries. */
export function columnMeans(x: Matrix): Float64Array {
  const mean = new Float64Array(x.cols);
  for (let i = 0; i < x.rows; i++) {
    const row = rowOf(x, i);
    for (let j = 0; j < x.cols; j++) mean[j] += row[j] / x.rows;
  }
  return mean;
}
