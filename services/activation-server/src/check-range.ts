import { OperationError } from '@heddle/core';
import type { HookPoint } from '@heddle/models';
import type { Tensor } from '@heddle/tensor';

/** Largest value that each type on the wire holds; halves round up to infinity from 65520. */
const LARGEST = { f32: 3.4028234663852886e38, f16: 65_519.996 };

/**
 * *Values that can be sent*: finite, and within the type that was asked for. Weights and interventions are finite, but what a
 * model makes of them can leave fp32, and a NaN must not pass for an answer. −∞ is right in masked scores.
 * Errors: `out_of_range` with hook, index and value.
 */
export function checkRange(
  point: Pick<HookPoint, 'name' | 'axes'>,
  { shape, data }: Tensor,
  dtype: 'f32' | 'f16',
): void {
  const largest = LARGEST[dtype];
  const masked = point.axes.includes('key_pos');
  const values = data as Float32Array;
  for (let i = 0; i < values.length; i++) {
    const x = values[i] as number;
    if (Math.abs(x) <= largest || (masked && x === -Infinity)) continue;
    const advice = Math.abs(x) < Infinity ? 'ask for ELEMENT_TYPE_F32' : 'its values leave fp32';
    throw new OperationError({
      code: 'out_of_range',
      message: `${point.name} is ${x} at [${indexOf(shape, i).join(', ')}], which ${dtype} cannot hold; ${advice}`,
      field: 'hooks',
      details: { hook: point.name, limit: largest },
    });
  }
}

function indexOf(shape: readonly number[], element: number): readonly number[] {
  let rest = element;
  return shape
    .toReversed()
    .map((size) => {
      const at = rest % size;
      rest = Math.floor(rest / size);
      return at;
    })
    .toReversed();
}
