import { assert } from '@heddle/core';
import { type DType, elementCount, showShape } from '@heddle/tensor';

/**
 * What the interpreter computes with: row-major doubles, whatever the dtype says. Whole numbers are exact up to 2^53, which
 * no index or size of ours reaches; bool is 0 or 1.
 */
export interface NdArray {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

export function ndArray(dtype: DType, shape: readonly number[], data: Float64Array): NdArray {
  assert(
    data.length === elementCount(shape),
    () => `${data.length} elements do not fill ${showShape(shape)}`,
  );
  return { dtype, shape, data };
}

export function filled(dtype: DType, shape: readonly number[], value = 0): NdArray {
  return { dtype, shape, data: new Float64Array(elementCount(shape)).fill(value) };
}

export function mapped(x: NdArray, f: (x: number) => number, dtype = x.dtype): NdArray {
  return { dtype, shape: x.shape, data: x.data.map((n) => f(n)) };
}

/** Elements to skip for one step along each axis. */
export function stridesOf(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

/** Strides that read `from` as if it were broadcast to `shape`: 0 along the axes that repeat. */
export function broadcastStrides(from: readonly number[], shape: readonly number[]): number[] {
  const own = stridesOf(from);
  const missing = shape.length - from.length;
  return shape.map((_, axis) => {
    const at = axis - missing;
    return at < 0 || from[at] === 1 ? 0 : own[at];
  });
}

export function broadcastShape(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((shape) => shape.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = shapes.map((shape) => shape[shape.length - rank + i] ?? 1);
    const size = sizes.find((n) => n !== 1) ?? 1;
    assert(
      sizes.every((n) => n === size || n === 1),
      () => `shapes ${shapes.map(showShape).join(' and ')} do not broadcast`,
    );
    return size;
  });
}

/**
 * Walks every place of `shape` in row-major order and calls `visit` with the place's offset under each set of strides.
 * The one loop that broadcasting, transposing and slicing share.
 */
export function walk(
  shape: readonly number[],
  strides: readonly (readonly number[])[],
  visit: (offsets: readonly number[], place: number) => void,
  starts: readonly number[] = [],
): void {
  const count = elementCount(shape);
  const at = new Array<number>(shape.length).fill(0);
  const offsets = strides.map((_, k) => starts[k] ?? 0);
  for (let place = 0; place < count; place++) {
    visit(offsets, place);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      at[axis]++;
      for (let k = 0; k < strides.length; k++) offsets[k] += strides[k][axis];
      if (at[axis] < shape[axis]) break;
      for (let k = 0; k < strides.length; k++) offsets[k] -= strides[k][axis] * shape[axis];
      at[axis] = 0;
    }
  }
}

/** A copy of `source` read with other strides: a transpose, an expansion, a slice. */
export function readStrided(
  source: NdArray,
  shape: readonly number[],
  strides: readonly number[],
  start = 0,
): NdArray {
  const out = filled(source.dtype, shape);
  walk(
    shape,
    [strides],
    ([offset], place) => {
      out.data[place] = source.data[offset];
    },
    [start],
  );
  return out;
}

export function transposed(x: NdArray, perm: readonly number[]): NdArray {
  const strides = stridesOf(x.shape);
  return readStrided(
    x,
    perm.map((axis) => x.shape[axis]),
    perm.map((axis) => strides[axis]),
  );
}

/** Sizes before, along and after an axis: how a line along it is addressed (start + i·after). */
export function aroundAxis(shape: readonly number[], axis: number) {
  return {
    before: elementCount(shape.slice(0, axis)),
    along: shape[axis],
    after: elementCount(shape.slice(axis + 1)),
  };
}

/** Calls `visit` with the start of every line along an axis; elements are `start + i·step`, i < along. */
export function eachLine(
  shape: readonly number[],
  axis: number,
  visit: (start: number, step: number, along: number) => void,
): void {
  const { before, along, after } = aroundAxis(shape, axis);
  for (let b = 0; b < before; b++) {
    for (let a = 0; a < after; a++) visit(b * along * after + a, after, along);
  }
}
