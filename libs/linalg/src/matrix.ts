import { assert, invalidArgument } from '@heddle/core';

/**
 * A dense row-major matrix in fp64: element (i, j) is `data[i * cols + j]`. The room's only
 * container.
 */
export interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly data: Float64Array;
}

/** A matrix over existing data (not copied). Asserts that the sizes fit. */
export function matrix(rows: number, cols: number, data: Float64Array): Matrix {
  assert(
    data.length === rows * cols,
    () => `${rows} × ${cols} has ${rows * cols} elements, the data ${data.length}`,
  );
  return { rows, cols, data };
}

export function zeroMatrix(rows: number, cols: number): Matrix {
  return { rows, cols, data: new Float64Array(rows * cols) };
}

export function identityMatrix(size: number): Matrix {
  const out = zeroMatrix(size, size);
  for (let i = 0; i < size; i++) out.data[i * size + i] = 1;
  return out;
}

export function fromRows(rows: readonly ArrayLike<number>[]): Matrix {
  const cols = rows[0]?.length ?? 0;
  const out = zeroMatrix(rows.length, cols);
  rows.forEach((row, i) => {
    assert(row.length === cols, () => `row ${i} has ${row.length} entries, row 0 has ${cols}`);
    out.data.set(row, i * cols);
  });
  return out;
}

export function toRows(a: Matrix): number[][] {
  return Array.from({ length: a.rows }, (_, i) => [...rowOf(a, i)]);
}

/** A view of row i: writing to it writes to the matrix. */
export function rowOf(a: Matrix, i: number): Float64Array {
  return a.data.subarray(i * a.cols, (i + 1) * a.cols);
}

/** A copy of column j. */
export function columnOf(a: Matrix, j: number): Float64Array {
  return Float64Array.from({ length: a.rows }, (_, i) => a.data[i * a.cols + j]);
}

/** The first `count` columns; a copy. */
export function firstColumns(a: Matrix, count: number): Matrix {
  assert(count <= a.cols, () => `${count} columns of ${a.cols}`);
  const out = zeroMatrix(a.rows, count);
  for (let i = 0; i < a.rows; i++) out.data.set(rowOf(a, i).subarray(0, count), i * count);
  return out;
}

export function transpose(a: Matrix): Matrix {
  const out = zeroMatrix(a.cols, a.rows);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < a.cols; j++) out.data[j * a.rows + i] = a.data[i * a.cols + j];
  }
  return out;
}

/** `A B`. */
export function multiply(a: Matrix, b: Matrix): Matrix {
  assert(a.cols === b.rows, () => `A is ${a.rows} × ${a.cols}, B is ${b.rows} × ${b.cols}`);
  const out = zeroMatrix(a.rows, b.cols);
  for (let i = 0; i < a.rows; i++) {
    const target = rowOf(out, i);
    for (let p = 0; p < a.cols; p++) {
      const factor = a.data[i * a.cols + p];
      const at = p * b.cols;
      for (let j = 0; j < b.cols; j++) target[j] += factor * b.data[at + j];
    }
  }
  return out;
}

/** `A Bᵀ`, without forming the transpose. */
export function multiplyTransposed(a: Matrix, b: Matrix): Matrix {
  assert(a.cols === b.cols, () => `A is ${a.rows} × ${a.cols}, B is ${b.rows} × ${b.cols}`);
  const out = zeroMatrix(a.rows, b.rows);
  for (let i = 0; i < a.rows; i++) {
    for (let j = 0; j < b.rows; j++) out.data[i * b.rows + j] = dot(rowOf(a, i), rowOf(b, j));
  }
  return out;
}

/** `x A` for a row vector x. */
export function rowTimes(x: ArrayLike<number>, a: Matrix): Float64Array {
  assert(x.length === a.rows, () => `x has ${x.length} entries, A is ${a.rows} × ${a.cols}`);
  const out = new Float64Array(a.cols);
  for (let i = 0; i < a.rows; i++) {
    const factor = x[i];
    const at = i * a.cols;
    for (let j = 0; j < a.cols; j++) out[j] += factor * a.data[at + j];
  }
  return out;
}

/** `A xᵀ` for a row vector x. */
export function timesColumn(a: Matrix, x: ArrayLike<number>): Float64Array {
  assert(x.length === a.cols, () => `x has ${x.length} entries, A is ${a.rows} × ${a.cols}`);
  return Float64Array.from({ length: a.rows }, (_, i) => dot(rowOf(a, i), x));
}

export function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  assert(x.length === y.length, () => `${x.length} entries against ${y.length}`);
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i] * y[i];
  return sum;
}

/** `A + factor · B`. */
export function addScaled(a: Matrix, b: Matrix, factor = 1): Matrix {
  assert(a.rows === b.rows && a.cols === b.cols, 'sizes differ');
  return matrix(
    a.rows,
    a.cols,
    a.data.map((value, i) => value + factor * b.data[i]),
  );
}

export function scaleMatrix(a: Matrix, factor: number): Matrix {
  return matrix(
    a.rows,
    a.cols,
    a.data.map((value) => value * factor),
  );
}

export function maxAbs(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) max = Math.max(max, Math.abs(values[i]));
  return max;
}

/** Frobenius norm, safe from overflow. */
export function frobenius(a: Matrix): number {
  const scale = maxAbs(a.data);
  if (scale === 0) return 0;
  let sum = 0;
  for (const value of a.data) sum += (value / scale) ** 2;
  return scale * Math.sqrt(sum);
}

/** Refuses NaN and infinities by name, size and index: no factorisation repairs them silently. */
export function requireFinite(a: Matrix, name: string): void {
  const bad = a.data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  const row = Math.floor(bad / a.cols);
  const col = bad % a.cols;
  throw invalidArgument(
    `${name} (${a.rows} × ${a.cols}) holds ${a.data[bad]} at row ${row}, column ${col}; every element must be finite`,
    { details: { name, rows: a.rows, cols: a.cols, row, column: col } },
  );
}
