import { columnOf, dot, type Matrix, zeroMatrix } from './matrix.ts';
import type { Qr } from './qr.ts';

/**
 * *Thin QR by Gram-Schmidt, done twice.* The slow twin of `qr` for full column rank (m ≥ n): each
 * column minus its projections on the earlier ones, repeated once because a single pass loses
 * orthogonality ("twice is enough", Kahan).
 */
export function qrReference(a: Matrix): Qr {
  const { rows: m, cols: n } = a;
  const Q = zeroMatrix(m, n);
  const R = zeroMatrix(n, n);
  for (let j = 0; j < n; j++) {
    const x = columnOf(a, j);
    for (let pass = 0; pass < 2; pass++) {
      for (let i = 0; i < j; i++) {
        const q = columnOf(Q, i);
        const projection = dot(q, x);
        R.data[i * n + j] += projection;
        for (let row = 0; row < m; row++) x[row] -= projection * q[row];
      }
    }
    const norm = Math.hypot(...x);
    R.data[j * n + j] = norm;
    for (let row = 0; row < m; row++) Q.data[row * n + j] = x[row] / norm;
  }
  return { Q, R };
}
