import { assert } from '@heddle/core';

/** Element types that cross our boundaries. f16 and bf16 live as their bits in a Uint16Array; bool as 0/1 bytes. */
export interface DataByDType {
  f32: Float32Array;
  f64: Float64Array;
  f16: Uint16Array;
  bf16: Uint16Array;
  i64: BigInt64Array;
  i32: Int32Array;
  u8: Uint8Array;
  bool: Uint8Array;
}

export type DType = keyof DataByDType;

export const BYTES_PER_ELEMENT: Readonly<Record<DType, number>> = {
  f32: 4,
  f64: 8,
  f16: 2,
  bf16: 2,
  i64: 8,
  i32: 4,
  u8: 1,
  bool: 1,
};

/** A dense row-major array with a shape; the empty shape is a scalar. Data is never shared by two owners that write. */
export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: DataByDType[D];
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, n) => product * n, 1);
}

/** A tensor over existing data. Asserts that the shape fits. */
export function tensor<D extends DType>(
  dtype: D,
  shape: readonly number[],
  data: DataByDType[D],
): Tensor<D> {
  const count = elementCount(shape);
  assert(
    data.length === count,
    () => `shape ${showShape(shape)} has ${count} elements, the data ${data.length}`,
  );
  return { dtype, shape, data };
}

const CONSTRUCTORS = {
  f32: Float32Array,
  f64: Float64Array,
  f16: Uint16Array,
  bf16: Uint16Array,
  i64: BigInt64Array,
  i32: Int32Array,
  u8: Uint8Array,
  bool: Uint8Array,
} as const;

export function zeros<D extends DType>(dtype: D, shape: readonly number[]): Tensor<D> {
  const data = new CONSTRUCTORS[dtype](elementCount(shape)) as unknown as DataByDType[D];
  return { dtype, shape, data };
}

/** A view of bytes as elements; the bytes are copied first when they are not aligned. */
export function fromBytes<D extends DType>(
  dtype: D,
  shape: readonly number[],
  bytes: Uint8Array,
): Tensor<D> {
  const size = BYTES_PER_ELEMENT[dtype];
  const count = elementCount(shape);
  assert(
    bytes.byteLength === count * size,
    () => `${dtype} ${showShape(shape)} takes ${count * size} bytes, not ${bytes.byteLength}`,
  );
  // Not slice(): of a Buffer, which is what arrives from the wire, it is a view as unaligned as the first.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  const data = new CONSTRUCTORS[dtype](aligned.buffer as ArrayBuffer, aligned.byteOffset, count);
  return { dtype, shape, data: data as unknown as DataByDType[D] };
}

/** The tensor's bytes, without a copy. */
export function toBytes(t: Tensor): Uint8Array {
  return new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength);
}

export function showShape(shape: readonly (number | string)[]): string {
  return `[${shape.join(', ')}]`;
}
