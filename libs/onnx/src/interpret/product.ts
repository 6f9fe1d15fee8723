import { elementCount } from '@heddle/tensor';
import { broadcastShape, broadcastStrides, filled, type NdArray, walk } from './nd-array.ts';

/** Matrices at given places of two arrays, multiplied into a third. Rows outermost, so that inner loops run along memory. */
function multiplyInto(
  out: Float64Array,
  [a, b]: readonly [Float64Array, Float64Array],
  [atOut, atA, atB]: readonly [number, number, number],
  [rows, inner, columns]: readonly [number, number, number],
): void {
  for (let i = 0; i < rows; i++) {
    const row = atOut + i * columns;
    for (let k = 0; k < inner; k++) {
      const factor = a[atA + i * inner + k];
      const from = atB + k * columns;
      for (let j = 0; j < columns; j++) out[row + j] += factor * b[from + j];
    }
  }
}

/** Batched matrix product of the last two axes; the axes before them broadcast. */
export function matrixProduct(a: NdArray, b: NdArray): NdArray {
  const [rows, inner] = a.shape.slice(-2);
  const columns = b.shape[b.shape.length - 1];
  const batch = broadcastShape([a.shape.slice(0, -2), b.shape.slice(0, -2)]);
  const out = filled('f32', [...batch, rows, columns]);
  const strides = [a, b].map((x) => {
    const matrix = elementCount(x.shape.slice(-2));
    return broadcastStrides(x.shape.slice(0, -2), batch).map((step) => step * matrix);
  });
  walk(batch, strides, ([atA, atB], place) => {
    const places = [place * rows * columns, atA, atB] as const;
    multiplyInto(out.data, [a.data, b.data], places, [rows, inner, columns]);
  });
  return out;
}
