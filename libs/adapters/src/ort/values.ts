import { assert } from '@heddle/core';
import type { DataByDType, DType, Tensor } from '@heddle/tensor';
import * as ort from 'onnxruntime-node';

/** bf16 never reaches the binding: graphs widen it where they read it. */
const ORT_TYPE = {
  f32: 'float32',
  f64: 'float64',
  f16: 'float16',
  i64: 'int64',
  i32: 'int32',
  u8: 'uint8',
  bool: 'bool',
} as const;

const DTYPE: Readonly<Record<string, DType>> = Object.fromEntries(
  Object.entries(ORT_TYPE).map(([dtype, type]) => [type, dtype as DType]),
);

/**
 * Node 24 has a Float16Array. onnxruntime-common 1.30 then insists on it, and the native binding does not know it ("not enough
 * space: expected 4, got 0"). Without it, both take the bits in a Uint16Array, as we hold them. This module is
 * loaded in the engine's own thread only, which has its own globals.
 */
Reflect.deleteProperty(globalThis, 'Float16Array');

/** Wraps a tensor's memory for ONNX Runtime, without a copy. */
export function toOrt(tensor: Tensor): ort.Tensor {
  const { dtype, data, shape } = tensor;
  assert(dtype !== 'bf16', 'bf16 cannot be fed: widen it first');
  return new ort.Tensor(ORT_TYPE[dtype], data as never, shape);
}

/** An output of ONNX Runtime as a tensor over the same memory. */
export function fromOrt(value: ort.Tensor): Tensor {
  const dtype = DTYPE[value.type];
  assert(dtype !== undefined, () => `an output of type ${value.type} has no dtype of ours`);
  return { dtype, shape: value.dims, data: value.data as DataByDType[DType] };
}
