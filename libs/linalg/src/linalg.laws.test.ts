import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError, Rng } from '@heddle/core';
import { eigSymmetricReference } from './eig-symmetric.reference.ts';
import {
  addScaled,
  columnMeans,
  composed,
  eigSymmetric,
  firstColumns,
  frobenius,
  fromRows,
  identityMatrix,
  lowRankSvd,
  lstsq,
  type Matrix,
  matrix,
  maxAbs,
  multiply,
  multiplyTransposed,
  pca,
  pinv,
  qr,
  rowOf,
  rowTimes,
  scaleMatrix,
  svd,
  timesColumn,
  topk,
  toRows,
  transpose,
  zeroMatrix,
} from './index.ts';
import { lowRankSvdReference } from './low-rank-svd.reference.ts';
import { pinvReference } from './lstsq.reference.ts';
import { pcaReference } from './pca.reference.ts';
import { qrReference } from './qr.reference.ts';
import { svdReference } from './svd.reference.ts';
import { topkReference } from './topk.reference.ts';

const random = (rng: Rng, rows: number, cols: number): Matrix =>
  matrix(
    rows,
    cols,
    Float64Array.from({ length: rows * cols }, () => rng.normal()),
  );

const distance = (a: Matrix, b: Matrix): number => {
  assert.deepEqual([a.rows, a.cols], [b.rows, b.cols]);
  return maxAbs(addScaled(a, b, -1).data);
};

const near = (a: Matrix, b: Matrix, tolerance: number, what: string): void => {
  const off = distance(a, b);
  assert.ok(off <= tolerance, `${what}: off by ${off}`);
};

const orthonormalColumns = (a: Matrix, what: string): void =>
  near(multiply(transpose(a), a), identityMatrix(a.cols), 1e-13 * Math.max(10, a.cols), what);

/**
 * Tall, square, wide, single rows and columns, rank deficient, zero, graded over 12 decades,
 * repeated columns.
 */
function zoo(): [string, Matrix][] {
  const rng = new Rng(5);
  const graded = random(rng, 9, 6);
  for (let i = 0; i < 9; i++)
    rowOf(graded, i).forEach((v, j, row) => {
      row[j] = v * 10 ** (-2 * j);
    });
  const x = random(rng, 7, 2);
  return [
    ['tall', random(rng, 20, 6)],
    ['square', random(rng, 8, 8)],
    ['wide', random(rng, 5, 17)],
    ['row', random(rng, 1, 7)],
    ['column', random(rng, 7, 1)],
    ['scalar', fromRows([[-3]])],
    ['rank two of five', multiply(x, random(rng, 2, 5))],
    ['zero', zeroMatrix(6, 4)],
    [
      'a zero column first',
      fromRows([
        [0, 1, 2],
        [0, 3, 4],
        [0, 5, 6],
        [0, -1, 0],
      ]),
    ],
    ['graded', graded],
    ['identity (all singular values equal)', identityMatrix(6)],
    [
      'equal columns',
      fromRows([
        [1, 1],
        [2, 2],
        [3, 3],
      ]),
    ],
    ['huge', scaleMatrix(random(rng, 6, 4), 1e200)],
    ['minute', scaleMatrix(random(rng, 6, 4), 1e-200)],
  ];
}

test('QR gives the matrix back, Q is orthonormal, R is upper triangular with diagonal ≥ 0, for every kind of matrix', () => {
  for (const [name, a] of zoo()) {
    const { Q, R } = qr(a);
    near(multiply(Q, R), a, 1e-14 * 10 * maxAbs(a.data), name);
    orthonormalColumns(Q, name);
    for (let i = 0; i < R.rows; i++) {
      assert.ok(R.data[i * R.cols + i] >= 0, name);
      for (let j = 0; j < i; j++) assert.equal(R.data[i * R.cols + j], 0, name);
    }
  }
});

test('QR agrees with Gram-Schmidt done twice where the rank is full', () => {
  const rng = new Rng(1);
  for (const [m, n] of [
    [6, 6],
    [12, 3],
    [40, 10],
  ] as const) {
    const a = random(rng, m, n);
    near(qr(a).Q, qrReference(a).Q, 1e-12, `Q ${m} × ${n}`);
    near(qr(a).R, qrReference(a).R, 1e-12, `R ${m} × ${n}`);
  }
});

test('SVD gives the matrix back with orthonormal factors and descending values ≥ 0, for every kind of matrix', () => {
  for (const [name, a] of zoo()) {
    const factors = svd(a);
    near(composed(factors), a, 2e-14 * 10 * maxAbs(a.data), name);
    orthonormalColumns(factors.U, `U of ${name}`);
    orthonormalColumns(factors.V, `V of ${name}`);
    assert.equal(factors.S.length, Math.min(a.rows, a.cols));
    factors.S.forEach((value, k) => {
      assert.ok(value >= 0 && (k === 0 || value <= factors.S[k - 1]), `${name}: ${factors.S}`);
    });
  }
});

test('SVD agrees with the eigenvectors of the augmented symmetric matrix: values, and rank-one slices', () => {
  const rng = new Rng(2);
  for (const [m, n] of [
    [7, 7],
    [9, 4],
    [3, 8],
  ] as const) {
    const a = random(rng, m, n);
    const [fast, slow] = [svd(a), svdReference(a)];
    fast.S.forEach((value, k) => {
      assert.ok(Math.abs(value - slow.S[k]) < 1e-12);
      const slice = ({ U, V }: { U: Matrix; V: Matrix }) =>
        matrix(
          m,
          n,
          Float64Array.from(
            { length: m * n },
            (_, i) => U.data[Math.floor(i / n) * U.cols + k] * V.data[(i % n) * V.cols + k],
          ),
        );
      near(slice(fast), slice(slow), 1e-10, `slice ${k}`);
    });
  }
});

test('SVD: σ of an orthogonal transform, a permutation and a scaling of the matrix are those that theory says', () => {
  const rng = new Rng(3);
  const a = random(rng, 10, 6);
  const S = svd(a).S;
  const left = qr(random(rng, 10, 10)).Q;
  const right = qr(random(rng, 6, 6)).Q;
  const close = (other: Float64Array, factor: number) =>
    other.forEach((value, k) => {
      assert.ok(Math.abs(value - factor * S[k]) < 1e-12 * factor);
    });
  close(svd(multiply(multiply(left, a), right)).S, 1);
  close(svd(transpose(a)).S, 1);
  close(svd(scaleMatrix(a, 7)).S, 7);
  assert.ok(Math.abs(Math.hypot(...S) - frobenius(a)) < 1e-12);
});

test('SVD: the sign rule makes the answer one: -A has the same V and the opposite U', () => {
  const a = random(new Rng(4), 6, 4);
  const [plus, minus] = [svd(a), svd(scaleMatrix(a, -1))];
  near(plus.V, minus.V, 1e-12, 'V');
  near(plus.U, scaleMatrix(minus.U, -1), 1e-12, 'U');
});

test('SVD: small singular values of a graded matrix keep their relative accuracy', () => {
  const S = svd(matrix(3, 3, Float64Array.of(1, 0, 0, 0, 1e-9, 0, 0, 0, 1e-20))).S;
  assert.deepEqual([...S], [1, 1e-9, 1e-20]);
});

test('the low-rank SVD equals that of the product, has exactly the inner size, and takes deficient and zero factors', () => {
  const rng = new Rng(6);
  const a = random(rng, 30, 5);
  const b = random(rng, 22, 5);
  const [fast, slow] = [lowRankSvd(a, b), lowRankSvdReference(a, b)];
  assert.deepEqual([fast.U.cols, fast.S.length, fast.V.cols], [5, 5, 5]);
  near(composed(fast), multiplyTransposed(a, b), 1e-12, 'product');
  fast.S.forEach((value, k) => {
    assert.ok(Math.abs(value - slow.S[k]) < 1e-11);
  });
  near(
    multiplyTransposed(firstColumns(fast.U, 2), firstColumns(fast.U, 2)),
    multiplyTransposed(firstColumns(slow.U, 2), firstColumns(slow.U, 2)),
    1e-10,
    'projector',
  );
  const deficient = multiply(random(rng, 30, 2), random(rng, 2, 5));
  const third = lowRankSvd(deficient, b);
  near(composed(third), multiplyTransposed(deficient, b), 1e-11, 'deficient');
  orthonormalColumns(third.U, 'deficient U');
  assert.ok(third.S[2] < 1e-11);
  assert.deepEqual([...lowRankSvd(zeroMatrix(8, 3), b.rows ? random(rng, 9, 3) : b).S], [0, 0, 0]);
});

test('symmetric eigenvalues: reconstruction, orthonormal vectors, agreement with classical Jacobi, degenerate groups', () => {
  const rng = new Rng(7);
  for (const size of [1, 2, 5, 12]) {
    const x = random(rng, size, size);
    const a = addScaled(x, transpose(x));
    const { values, vectors } = eigSymmetric(a);
    const scaled = { ...vectors, data: vectors.data.map((v, i) => v * values[i % size]) };
    near(multiplyTransposed(scaled, vectors), a, 1e-12, `size ${size}`);
    orthonormalColumns(vectors, `size ${size}`);
    const slow = eigSymmetricReference(a).values;
    values.forEach((value, k) => {
      assert.ok(Math.abs(value - slow[k]) < 1e-12);
    });
  }
  assert.deepEqual([...eigSymmetric(identityMatrix(4)).values], [1, 1, 1, 1]);
  assert.deepEqual([...eigSymmetric(zeroMatrix(3, 3)).values], [0, 0, 0]);
  assert.throws(
    () =>
      eigSymmetric(
        fromRows([
          [1, 2],
          [3, 4],
        ]),
        'C',
      ),
    /C is not symmetric/,
  );
});

test('PCA: variances are those of the covariance matrix, scores are uncorrelated, a shift of the data moves only the mean', () => {
  const x = random(new Rng(8), 40, 5);
  const [fast, slow] = [pca(x), pcaReference(x)];
  fast.variances.forEach((value, k) => {
    assert.ok(Math.abs(value - slow.variances[k]) < 1e-12);
  });
  const gram = multiply(transpose(fast.scores), fast.scores);
  const expected = zeroMatrix(5, 5);
  fast.variances.forEach((value, k) => {
    expected.data[k * 6] = value * 39;
  });
  near(gram, expected, 1e-10, 'scores');
  const moved = pca({ ...x, data: x.data.map((v) => v + 3) });
  near(moved.components, fast.components, 1e-10, 'components');
  moved.mean.forEach((value, j) => {
    assert.ok(Math.abs(value - columnMeans(x)[j] - 3) < 1e-12);
  });
  assert.equal(pca(x, 2).scores.cols, 2);
});

test('the pseudo-inverse fulfils the four Penrose conditions for every rank', () => {
  for (const [name, a] of zoo()) {
    if (name === 'graded') continue; // its inverse has elements of 1e12: covered by the relative bound below
    const inverse = pinv(a);
    const [left, right] = [multiply(a, inverse), multiply(inverse, a)];
    near(multiply(left, a), a, 1e-12 * maxAbs(a.data), `A A⁺ A, ${name}`);
    near(multiply(right, inverse), inverse, 1e-12 * maxAbs(inverse.data), `A⁺ A A⁺, ${name}`);
    near(left, transpose(left), 1e-12, `A A⁺, ${name}`);
    near(right, transpose(right), 1e-12, `A⁺ A, ${name}`);
  }
  const tall = random(new Rng(9), 12, 4);
  near(pinv(tall), pinvReference(tall), 1e-10, 'normal equations');
});

test('least squares: the residual is orthogonal to the columns, and the wide solution is the shortest', () => {
  const rng = new Rng(10);
  const tall = random(rng, 9, 3);
  const b = random(rng, 9, 2);
  const residual = addScaled(b, multiply(tall, lstsq(tall, b)), -1);
  near(multiply(transpose(tall), residual), zeroMatrix(3, 2), 1e-12, 'normal equations');
  const wide = random(rng, 3, 9);
  const x = lstsq(wide, random(rng, 3, 1));
  const inRows = multiply(pinv(wide), multiply(wide, x));
  near(inRows, x, 1e-12, 'no part outside the row space');
});

test('topk equals a full sort on ties, infinities, k = 0 and k = n', () => {
  const rng = new Rng(11);
  for (let round = 0; round < 200; round++) {
    const n = rng.below(30);
    const values = Array.from({ length: n }, () => rng.below(6) - 3);
    if (n > 3) values[rng.below(n)] = Number.POSITIVE_INFINITY;
    if (n > 3) values[rng.below(n)] = Number.NEGATIVE_INFINITY;
    const k = rng.below(n + 1);
    assert.deepEqual(topk(values, k), topkReference(values, k), JSON.stringify({ values, k }));
  }
});

test('what depends on the data is an operating error that names the matrix and the place', () => {
  const bad = fromRows([
    [1, 2],
    [3, Number.NaN],
    [5, 6],
  ]);
  for (const refuse of [
    () => qr(bad, 'W_Q'),
    () => svd(bad, 'W_Q'),
    () => svd(transpose(bad), 'W_Q'),
    () => pinv(bad, 'W_Q'),
    () => pca(bad, 2, 'W_Q'),
    () => lowRankSvd(bad, bad, 'W_Q'),
  ]) {
    assert.throws(refuse, (error: unknown) => {
      assert.ok(error instanceof OperationError);
      assert.equal(error.code, 'invalid_argument');
      assert.match(error.message, /W_Q.*NaN at row \d, column \d/);
      return true;
    });
  }
  assert.throws(() => topk([1, Number.NaN], 1, 'scores'), /scores holds NaN at index 1/);
});

test('an iteration that reaches its cap says so', () => {
  const a = random(new Rng(12), 12, 12);
  assert.throws(() => svd(a, 'W_QK', 1), /SVD of W_QK did not converge after 1 sweeps/);
  const symmetric = addScaled(a, transpose(a));
  assert.throws(() => eigSymmetric(symmetric, 'C', 1), /eigenvalues of C did not converge after 1/);
});

test('products agree with their definitions, and wrong sizes are programmer errors', () => {
  const a = fromRows([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  const b = fromRows([
    [1, 0],
    [2, 1],
    [0, -1],
  ]);
  assert.deepEqual(toRows(multiply(a, b)), [
    [5, -1],
    [14, -1],
  ]);
  assert.deepEqual(toRows(multiplyTransposed(a, transpose(b))), [
    [5, -1],
    [14, -1],
  ]);
  assert.deepEqual([...rowTimes([1, 1], a)], [5, 7, 9]);
  assert.deepEqual([...timesColumn(a, [1, 0, -1])], [-2, -2]);
  assert.throws(() => multiply(a, a), { name: 'AssertionError' });
  assert.throws(() => fromRows([[1], [1, 2]]), { name: 'AssertionError' });
});
