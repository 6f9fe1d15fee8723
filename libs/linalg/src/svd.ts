import { OperationError } from '@heddle/core';
import { EPSILON, JACOBI_SWEEPS_MAX, ORTHOGONAL } from './limits.ts';
import {
  dot,
  fromRows,
  identityMatrix,
  type Matrix,
  maxAbs,
  multiply,
  requireFinite,
  rowOf,
  scaleMatrix,
  transpose,
} from './matrix.ts';
import { qr } from './qr.ts';

export interface Svd {
  /** m × r, orthonormal columns, r = min(m, n). */
  readonly U: Matrix;
  /** r singular values, descending, ≥ 0. */
  readonly S: Float64Array;
  /** n × r, orthonormal columns. */
  readonly V: Matrix;
}

/**
 * *Thin singular value decomposition by one-sided Jacobi.* `A = U diag(S) Vᵀ`; `A` m × n, `U` m ×
 * r, `V` n × r, r = min(m, n). Pairs of columns are rotated until all are orthogonal; their lengths
 * are the singular values. `U` and `V` are orthonormal for every rank: where a singular value is
 * below rounding (max(m, n) · ε · S₀) its `u` is completed.
 *
 * Signs: the entry of largest magnitude of each `v` is positive (the first such). Inside a group of
 * equal singular values any rotation is right; compare `u vᵀ`, projectors or contributions, never a
 * vector.
 *
 * Refuses non-finite elements; "did not converge after N sweeps" is an operating error. Cost about
 * 8 sweeps · m n². Demmel & Veselić 1992.
 */
export function svd(a: Matrix, name = 'A', sweepsMax = JACOBI_SWEEPS_MAX): Svd {
  requireFinite(a, name);
  if (a.rows < a.cols) {
    const { U, S, V } = svd(transpose(a), name, sweepsMax);
    return withCanonicalSigns({ U: V, S, V: U });
  }
  const largest = maxAbs(a.data);
  // A power of two: scaling is exact, and squares neither overflow nor vanish.
  const unit = largest === 0 ? 1 : 2 ** Math.floor(Math.log2(largest));
  const { Q, R } = qr(scaleMatrix(a, 1 / unit), name);
  const core = jacobi(R, name, sweepsMax);
  return withCanonicalSigns({
    U: multiply(Q, core.U),
    S: core.S.map((value) => value * unit),
    V: core.V,
  });
}

/** Square `R`; works on rows of Rᵀ, because rows are contiguous. */
function jacobi(r: Matrix, name: string, sweepsMax: number): Svd {
  const size = r.cols;
  const columns = transpose(r);
  const right = identityMatrix(size);
  // A column this short is rounding: turning it against the others would never settle.
  const negligible = (size * EPSILON * maxNorm(columns)) ** 2;
  let sweep = 0;
  while (rotateAllPairs(columns, right, negligible)) {
    sweep++;
    if (sweep >= sweepsMax) {
      throw new OperationError({
        code: 'internal',
        message: `the SVD of ${name} did not converge after ${sweepsMax} sweeps`,
        details: { name, size, sweeps: sweepsMax },
      });
    }
  }
  const norms = Array.from({ length: size }, (_, i) => Math.hypot(...rowOf(columns, i)));
  const order = norms.map((_, i) => i).sort((i, j) => norms[j] - norms[i] || i - j);
  const S = Float64Array.from(order, (i) => norms[i]);
  const left = order.map((i) => rowOf(columns, i).map((value) => value / (norms[i] || 1)));
  completeOrthonormal(left, S);
  return {
    U: transpose(fromRowsOf(left, size)),
    S,
    V: transpose(
      fromRowsOf(
        order.map((i) => rowOf(right, i)),
        size,
      ),
    ),
  };
}

function fromRowsOf(rows: readonly Float64Array[], size: number): Matrix {
  return size === 0 ? { rows: 0, cols: 0, data: new Float64Array(0) } : fromRows(rows);
}

function maxNorm(rows: Matrix): number {
  let max = 0;
  for (let i = 0; i < rows.rows; i++) max = Math.max(max, Math.hypot(...rowOf(rows, i)));
  return max;
}

/** One sweep over all pairs of rows; true when at least one pair had to be turned. */
function rotateAllPairs(columns: Matrix, right: Matrix, negligible: number): boolean {
  let turned = false;
  for (let i = 0; i < columns.rows - 1; i++) {
    for (let j = i + 1; j < columns.rows; j++) {
      const x = rowOf(columns, i);
      const y = rowOf(columns, j);
      const xx = dot(x, x);
      const yy = dot(y, y);
      if (xx <= negligible || yy <= negligible) continue;
      const xy = dot(x, y);
      if (Math.abs(xy) <= ORTHOGONAL * Math.sqrt(xx * yy)) continue;
      turned = true;
      const zeta = (yy - xx) / (2 * xy);
      const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta));
      const cosine = 1 / Math.hypot(1, tangent);
      rotate(x, y, cosine, cosine * tangent);
      rotate(rowOf(right, i), rowOf(right, j), cosine, cosine * tangent);
    }
  }
  return turned;
}

function rotate(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
  for (let p = 0; p < x.length; p++) {
    const old = x[p];
    x[p] = cosine * old - sine * y[p];
    y[p] = sine * old + cosine * y[p];
  }
}

/**
 * Replaces the directions of negligible singular values by unit vectors made orthogonal to all the
 * others.
 */
function completeOrthonormal(left: Float64Array[], S: Float64Array): void {
  const size = left.length;
  const floor = size * EPSILON * (S[0] ?? 0);
  let next = 0;
  for (let k = 0; k < size; k++) {
    if (S[k] > floor) continue;
    for (; next < size; next++) {
      const candidate = new Float64Array(size);
      candidate[next] = 1;
      for (let pass = 0; pass < 2; pass++) {
        for (const u of left.slice(0, k)) {
          const projection = dot(u, candidate);
          for (let p = 0; p < size; p++) candidate[p] -= projection * u[p];
        }
      }
      const norm = Math.hypot(...candidate);
      // Of `size` unit vectors at least one keeps 1/√size of its length outside any smaller space.
      if (norm < 0.5 / Math.sqrt(size)) continue;
      left[k] = candidate.map((value) => value / norm);
      break;
    }
  }
}

/** Turns each pair (u, v) so that v's entry of largest magnitude is positive. */
export function withCanonicalSigns({ U, S, V }: Svd): Svd {
  for (let k = 0; k < S.length; k++) {
    let pivot = 0;
    for (let i = 0; i < V.rows; i++) {
      const value = V.data[i * V.cols + k];
      if (Math.abs(value) > Math.abs(pivot)) pivot = value;
    }
    if (pivot >= 0) continue;
    for (let i = 0; i < V.rows; i++) V.data[i * V.cols + k] *= -1;
    for (let i = 0; i < U.rows; i++) U.data[i * U.cols + k] *= -1;
  }
  return { U, S, V };
}
