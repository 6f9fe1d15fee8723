import { assert } from '@heddle/core';
import { EPSILON } from './limits.ts';
import { type Matrix, multiply, multiplyTransposed } from './matrix.ts';
import { svd } from './svd.ts';

/**
 * *Moore-Penrose inverse*, `A⁺ = V diag(1/S) Uᵀ` over the singular values above `rcond · S₀`; `A` m
 * × n, `A⁺` n × m. The default `rcond` is max(m, n) · ε, so a rank-deficient or zero matrix has an
 * inverse too. Laws: `A A⁺ A = A`, `A⁺ A A⁺ = A⁺`, both products symmetric. Errors as in `svd`.
 */
export function pinv(a: Matrix, name = 'A', rcond = Math.max(a.rows, a.cols) * EPSILON): Matrix {
  const { U, S, V } = svd(a, name);
  const floor = rcond * (S[0] ?? 0);
  const data = V.data.map((value, i) => {
    const sigma = S[i % V.cols];
    return sigma > floor ? value / sigma : 0;
  });
  return multiplyTransposed({ ...V, data }, U);
}

/**
 * *Least squares*: the `X` of smallest norm that minimises `‖A X − B‖`; `A` m × n, `B` m × p, `X` n
 * × p. For every rank and for wide and tall `A`.
 */
export function lstsq(a: Matrix, b: Matrix, name = 'A'): Matrix {
  assert(a.rows === b.rows, () => `A has ${a.rows} rows, B has ${b.rows}`);
  return multiply(pinv(a, name), b);
}
