import { assert } from '@heddle/core';
import { type DType, elementCount, type Tensor } from '@heddle/tensor';

const WHOLE = new Set<DType>(['i64', 'i32', 'u8', 'bool']);

/** A constant's type, shape and numbers from what a caller may write. A tensor of doubles becomes an f32 constant that keeps them. */
export function constantFrom(from: Tensor | number | readonly number[], dtype: DType | undefined) {
  if (typeof from === 'number') {
    return { type: dtype ?? 'f32', shape: [], data: Float64Array.of(from) };
  }
  if (Array.isArray(from)) {
    return { type: dtype ?? 'f32', shape: [from.length], data: Float64Array.from(from) };
  }
  const { dtype: own, shape, data } = from as Tensor;
  const type = dtype ?? (own === 'f64' ? 'f32' : own);
  assert(own !== 'f16' && own !== 'bf16', 'a constant is f32, not a half precision');
  assert(!WHOLE.has(own) === !WHOLE.has(type), () => `a constant of ${own} as ${type}`);
  assert(data.length === elementCount(shape), 'a constant whose data do not fill its shape');
  return { type, shape: [...shape], data: Float64Array.from(data as ArrayLike<number>, Number) };
}
