import { eigSymmetricReference } from './eig-symmetric.reference.ts';
import { columnOf, fromRows, type Matrix, transpose, zeroMatrix } from './matrix.ts';
import { type Svd, withCanonicalSigns } from './svd.ts';

/**
 * *SVD from the symmetric matrix* `( 0 A ; Aᵀ 0 )`, whose eigenvalues are ±σ (and zeros) with
 * eigenvectors (u, ±v)/√2. The slow twin of `svd` for full rank; unlike `AᵀA` it does not square
 * the condition number. Cost (m + n)³ a sweep.
 */
export function svdReference(a: Matrix): Svd {
  const { rows: m, cols: n } = a;
  const size = m + n;
  const both = zeroMatrix(size, size);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      both.data[i * size + m + j] = a.data[i * n + j];
      both.data[(m + j) * size + i] = a.data[i * n + j];
    }
  }
  const { values, vectors } = eigSymmetricReference(both);
  const rank = Math.min(m, n);
  const pairs = Array.from({ length: rank }, (_, k) => columnOf(vectors, k));
  const scaled = (x: Float64Array) => x.map((value) => value * Math.SQRT2);
  return withCanonicalSigns({
    U: transpose(fromRows(pairs.map((x) => scaled(x.slice(0, m))))),
    S: Float64Array.from({ length: rank }, (_, k) => Math.max(0, values[k])),
    V: transpose(fromRows(pairs.map((x) => scaled(x.slice(m))))),
  });
}
