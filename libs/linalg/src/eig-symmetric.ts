import { assert, invalidArgument, OperationError } from '@heddle/core';
import { EPSILON, JACOBI_SWEEPS_MAX } from './limits.ts';
import { frobenius, identityMatrix, type Matrix, maxAbs, requireFinite } from './matrix.ts';

export interface Eig {
  /** Descending. */
  readonly values: Float64Array;
  /** Orthonormal columns in the order of the values. */
  readonly vectors: Matrix;
}

/**
 * *Eigenvalues of a symmetric matrix by cyclic Jacobi.* `A = X diag(values) Xᵀ`, n × n. Refuses
 * non-finite and asymmetric input (a difference above 1e-10 of the largest element); "did not
 * converge after N sweeps" is an operating error. Cost about 8 sweeps · 4 n³. Golub & Van Loan,
 * 8.5.
 */
export function eigSymmetric(a: Matrix, name = 'A', sweepsMax = JACOBI_SWEEPS_MAX): Eig {
  assert(a.rows === a.cols, () => `${name} is ${a.rows} × ${a.cols}, not square`);
  requireFinite(a, name);
  requireSymmetric(a, name);
  const size = a.rows;
  const work = { ...a, data: a.data.slice() };
  const vectors = identityMatrix(size);
  const floor = EPSILON * frobenius(a);
  for (let sweep = 0; offDiagonal(work) > floor; sweep++) {
    if (sweep === sweepsMax) {
      throw new OperationError({
        code: 'internal',
        message: `the eigenvalues of ${name} did not converge after ${sweepsMax} sweeps`,
        details: { name, size, sweeps: sweepsMax },
      });
    }
    for (let p = 0; p < size - 1; p++) {
      for (let q = p + 1; q < size; q++) annihilate(work, vectors, p, q);
    }
  }
  return sorted(work, vectors);
}

function requireSymmetric(a: Matrix, name: string): void {
  const tolerance = 1e-10 * maxAbs(a.data);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < i; j++) {
      const above = a.data[j * a.cols + i];
      const below = a.data[i * a.cols + j];
      if (Math.abs(above - below) <= tolerance) continue;
      throw invalidArgument(`${name} is not symmetric: ${above} above and ${below} below`, {
        details: { name, row: j, column: i },
      });
    }
  }
}

/**
 * The largest off-diagonal element: converged below ε ‖A‖, which is what the elements themselves
 * carry as rounding.
 */
function offDiagonal(a: Matrix): number {
  let max = 0;
  for (let i = 0; i < a.rows; i++) {
    for (let j = i + 1; j < a.cols; j++) max = Math.max(max, Math.abs(a.data[i * a.cols + j]));
  }
  return max;
}

/**
 * One rotation in the plane (p, q) that makes `A_pq` zero, applied to A from both sides and to the
 * vectors.
 */
export function annihilate(a: Matrix, vectors: Matrix, p: number, q: number): void {
  const size = a.rows;
  const apq = a.data[p * size + q];
  if (apq === 0) return;
  const theta = (a.data[q * size + q] - a.data[p * size + p]) / (2 * apq);
  const tangent = (theta >= 0 ? 1 : -1) / (Math.abs(theta) + Math.hypot(1, theta));
  const cosine = 1 / Math.hypot(1, tangent);
  const sine = cosine * tangent;
  for (let i = 0; i < size; i++) turn(a.data, i * size + p, i * size + q, cosine, sine);
  for (let j = 0; j < size; j++) turn(a.data, p * size + j, q * size + j, cosine, sine);
  for (let i = 0; i < size; i++) turn(vectors.data, i * size + p, i * size + q, cosine, sine);
  a.data[p * size + q] = 0;
  a.data[q * size + p] = 0;
}

function turn(data: Float64Array, p: number, q: number, cosine: number, sine: number): void {
  const x = data[p];
  data[p] = cosine * x - sine * data[q];
  data[q] = sine * x + cosine * data[q];
}

/** Eigenvalues off the diagonal of a diagonalised matrix, descending, with their vectors. */
export function sorted(a: Matrix, vectors: Matrix): Eig {
  const size = a.rows;
  const diagonal = Array.from({ length: size }, (_, i) => a.data[i * size + i]);
  const order = diagonal.map((_, i) => i).sort((i, j) => diagonal[j] - diagonal[i] || i - j);
  const data = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    order.forEach((from, to) => {
      data[i * size + to] = vectors.data[i * size + from];
    });
  }
  return {
    values: Float64Array.from(order, (i) => diagonal[i]),
    vectors: { rows: size, cols: size, data },
  };
}
