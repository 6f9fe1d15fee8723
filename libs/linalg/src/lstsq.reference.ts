import { type Matrix, multiply, rowOf, transpose, zeroMatrix } from './matrix.ts';

/**
 * The slow twin of `pinv` for full column rank: `(AᵀA)⁻¹ Aᵀ`, the normal equations solved by
 * Gauss-Jordan elimination with pivoting. Squares the condition number, so it agrees to 1e-8 on
 * well-conditioned matrices only.
 */
export function pinvReference(a: Matrix): Matrix {
  const right = transpose(a);
  return solve(multiply(right, a), right);
}

function solve(square: Matrix, right: Matrix): Matrix {
  const n = square.rows;
  const work = zeroMatrix(n, n + right.cols);
  for (let i = 0; i < n; i++) {
    rowOf(work, i).set(rowOf(square, i));
    rowOf(work, i).set(rowOf(right, i), n);
  }
  for (let j = 0; j < n; j++) {
    let pivot = j;
    for (let i = j; i < n; i++) {
      if (Math.abs(rowOf(work, i)[j]) > Math.abs(rowOf(work, pivot)[j])) pivot = i;
    }
    const swapped = rowOf(work, pivot).slice();
    rowOf(work, pivot).set(rowOf(work, j));
    rowOf(work, j).set(swapped.map((value) => value / swapped[j]));
    for (let i = 0; i < n; i++) {
      if (i === j) continue;
      const factor = rowOf(work, i)[j];
      for (let c = 0; c < work.cols; c++) rowOf(work, i)[c] -= factor * rowOf(work, j)[c];
    }
  }
  const out = zeroMatrix(n, right.cols);
  for (let i = 0; i < n; i++) rowOf(out, i).set(rowOf(work, i).subarray(n));
  return out;
}
