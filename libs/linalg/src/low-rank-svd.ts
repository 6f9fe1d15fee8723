import { assert, OperationError } from '@heddle/core';
import { type Matrix, maxAbs, multiply, multiplyTransposed } from './matrix.ts';
import { qr } from './qr.ts';
import { type Svd, svd, withCanonicalSigns } from './svd.ts';

/**
 * *SVD of a product in factored form*, `A Bᵀ = U diag(S) Vᵀ`, without forming it: `A = Q_A R_A`,
 * `B = Q_B R_B`, SVD of the small core `R_A R_Bᵀ`, then `U = Q_A U'`, `V = Q_B V'`. `A` m × h and
 * `B` k × h, h ≤ min(m, k); `U` m × h, `V` k × h. Exactly h singular values: the rest of the m × k
 * matrix is zero by rank. Signs and errors as in `svd`. The core's factorisation is verified (max|U
 * S Vᵀ − core| ≤ 1e-10 · max|core|): a LAPACK driver was once seen to return wrong factors in
 * silence. Cost 2 (m + k) h² + 8 h³.
 */
export function lowRankSvd(a: Matrix, b: Matrix, name = 'A Bᵀ'): Svd {
  assert(a.cols === b.cols, () => `A has ${a.cols} columns, B has ${b.cols}`);
  assert(a.rows >= a.cols && b.rows >= b.cols, () => `the factors of ${name} are wide`);
  const left = qr(a, `the left factor of ${name}`);
  const right = qr(b, `the right factor of ${name}`);
  const core = multiplyTransposed(left.R, right.R);
  const { U, S, V } = svd(core, name);
  verify(core, { U, S, V }, name);
  return withCanonicalSigns({ U: multiply(left.Q, U), S, V: multiply(right.Q, V) });
}

/** `U diag(S) Vᵀ`. */
export function composed({ U, S, V }: Svd): Matrix {
  const scaled = { ...U, data: U.data.map((value, i) => value * S[i % U.cols]) };
  return multiplyTransposed(scaled, V);
}

function verify(core: Matrix, factors: Svd, name: string): void {
  const again = composed(factors);
  const worst = maxAbs(core.data.map((value, i) => value - again.data[i]));
  const largest = maxAbs(core.data);
  if (worst <= 1e-10 * largest) return;
  throw new OperationError({
    code: 'internal',
    message: `the SVD of ${name} does not give it back: off by ${worst} of ${largest}`,
    details: { name, worst, largest },
  });
}
