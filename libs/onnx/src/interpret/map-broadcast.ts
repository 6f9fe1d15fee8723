import type { DType } from '@heddle/tensor';
import { broadcastShape, broadcastStrides, filled, type NdArray, walk } from './nd-array.ts';

/** f over two arrays, broadcast. */
export function map2(
  a: NdArray,
  b: NdArray,
  dtype: DType,
  f: (a: number, b: number) => number,
): NdArray {
  const shape = broadcastShape([a.shape, b.shape]);
  const out = filled(dtype, shape);
  const { data } = out;
  if (a.data.length === data.length && b.data.length === data.length) {
    for (let i = 0; i < data.length; i++) data[i] = f(a.data[i], b.data[i]);
    return out;
  }
  const strides = [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)];
  walk(shape, strides, ([i, j], place) => {
    data[place] = f(a.data[i], b.data[j]);
  });
  return out;
}

/** f over three arrays, broadcast; the result has the type of the second. */
export function map3(
  [a, b, c]: readonly NdArray[],
  f: (a: number, b: number, c: number) => number,
): NdArray {
  const shape = broadcastShape([a.shape, b.shape, c.shape]);
  const out = filled(b.dtype, shape);
  const strides = [a, b, c].map((x) => broadcastStrides(x.shape, shape));
  walk(shape, strides, ([i, j, k], place) => {
    out.data[place] = f(a.data[i], b.data[j], c.data[k]);
  });
  return out;
}
