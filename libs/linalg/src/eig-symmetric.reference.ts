import { assert } from '@heddle/core';
import { annihilate, type Eig, sorted } from './eig-symmetric.ts';
import { identityMatrix, type Matrix, maxAbs } from './matrix.ts';

/**
 * *Classical Jacobi (1846).* The slow twin of `eigSymmetric`: always annihilates the largest
 * off-diagonal element, found by looking at all of them, until it is below 1e-16 of the largest
 * element.
 */
export function eigSymmetricReference(a: Matrix): Eig {
  const size = a.rows;
  const work = { ...a, data: a.data.slice() };
  const vectors = identityMatrix(size);
  const floor = 1e-16 * maxAbs(a.data);
  // Each step removes at least 2/(n(n−1)) of the off-diagonal mass: 60 n² steps are past every
  // start.
  for (let step = 0; step <= 60 * size * size; step++) {
    let [p, q, largest] = [0, 1, 0];
    for (let i = 0; i < size; i++) {
      for (let j = i + 1; j < size; j++) {
        const value = Math.abs(work.data[i * size + j]);
        if (value > largest) [p, q, largest] = [i, j, value];
      }
    }
    if (largest <= floor) return sorted(work, vectors);
    annihilate(work, vectors, p, q);
  }
  assert(false, 'classical Jacobi did not end');
}
