import { type Matrix, requireFinite, zeroMatrix } from './matrix.ts';

export interface Qr {
  /** m × r with orthonormal columns, r = min(m, n). */
  readonly Q: Matrix;
  /** r × n, upper triangular, diagonal ≥ 0. */
  readonly R: Matrix;
}

/**
 * *Thin QR by Householder reflections.* `A = Q R`; `A` m × n, `Q` m × r, `R` r × n, r = min(m, n).
 * Signs are fixed by a diagonal ≥ 0, so the answer is unique for full column rank; `Q` has
 * orthonormal columns for every rank, zero included. Refuses non-finite elements. Cost 2 m n r.
 * Golub & Van Loan, 5.2.
 */
export function qr(a: Matrix, name = 'A'): Qr {
  requireFinite(a, name);
  const { rows: m, cols: n } = a;
  const rank = Math.min(m, n);
  const work = a.data.slice();
  const taus = new Float64Array(rank);
  for (let j = 0; j < rank; j++) taus[j] = reflectColumn(work, m, n, j);
  const R = zeroMatrix(rank, n);
  for (let i = 0; i < rank; i++) {
    for (let j = i; j < n; j++) R.data[i * n + j] = work[i * n + j];
  }
  const Q = accumulateQ(work, taus, m, n);
  for (let i = 0; i < rank; i++) {
    if (R.data[i * n + i] >= 0) continue;
    for (let j = i; j < n; j++) R.data[i * n + j] = -R.data[i * n + j];
    for (let row = 0; row < m; row++) Q.data[row * rank + i] = -Q.data[row * rank + i];
  }
  return { Q, R };
}

/**
 * Replaces column j by its reflection: `alpha` on the diagonal, the vector v (with v_j = 1 implied)
 * below it; applies `I − tau v vᵀ` to the columns on the right. Returns tau; 0 for a column that is
 * already zero below the diagonal.
 */
function reflectColumn(work: Float64Array, m: number, n: number, j: number): number {
  let scale = 0;
  for (let i = j + 1; i < m; i++) scale = Math.max(scale, Math.abs(work[i * n + j]));
  if (scale === 0) return 0;
  const x0 = work[j * n + j];
  scale = Math.max(scale, Math.abs(x0));
  let sum = 0;
  for (let i = j; i < m; i++) sum += (work[i * n + j] / scale) ** 2;
  const norm = scale * Math.sqrt(sum);
  const alpha = x0 > 0 ? -norm : norm;
  const v0 = x0 - alpha;
  const tau = -v0 / alpha;
  for (let i = j + 1; i < m; i++) work[i * n + j] /= v0;
  work[j * n + j] = alpha;
  for (let c = j + 1; c < n; c++) {
    let projection = work[j * n + c];
    for (let i = j + 1; i < m; i++) projection += work[i * n + j] * work[i * n + c];
    projection *= tau;
    work[j * n + c] -= projection;
    for (let i = j + 1; i < m; i++) work[i * n + c] -= projection * work[i * n + j];
  }
  return tau;
}

/** Applies the reflections, last first, to the first columns of the identity. */
function accumulateQ(work: Float64Array, taus: Float64Array, m: number, n: number): Matrix {
  const rank = taus.length;
  const Q = zeroMatrix(m, rank);
  for (let i = 0; i < rank; i++) Q.data[i * rank + i] = 1;
  for (let j = rank - 1; j >= 0; j--) {
    if (taus[j] === 0) continue;
    for (let c = j; c < rank; c++) {
      let projection = Q.data[j * rank + c];
      for (let i = j + 1; i < m; i++) projection += work[i * n + j] * Q.data[i * rank + c];
      projection *= taus[j];
      Q.data[j * rank + c] -= projection;
      for (let i = j + 1; i < m; i++) Q.data[i * rank + c] -= projection * work[i * n + j];
    }
  }
  return Q;
}
