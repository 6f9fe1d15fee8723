import { type Tensor, widenF16 } from '@heddle/tensor';

/** Values are shown up to here; larger tensors belong into a file. */
const VALUES_MAX = 4096;

export interface TensorSummary {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Over the finite values; null when there are none. */
  readonly min: number | null;
  readonly mean: number | null;
  readonly max: number | null;
  readonly not_finite: number;
  /** Row-major; those that are not finite become null in JSON. Absent for a large tensor. */
  readonly values?: readonly number[];
}

export function describeTensor(tensor: Tensor, withValues: boolean): TensorSummary {
  const values = numbersOf(tensor);
  let min = Number.POSITIVE_INFINITY;
  let max = Number.NEGATIVE_INFINITY;
  let sum = 0;
  let count = 0;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
    sum += value;
    count++;
  }
  const some = count > 0;
  const shown = withValues && values.length <= VALUES_MAX;
  return {
    dtype: tensor.dtype,
    shape: tensor.shape,
    min: some ? min : null,
    mean: some ? sum / count : null,
    max: some ? max : null,
    not_finite: values.length - count,
    ...(shown ? { values: Array.from(values) } : {}),
  };
}

/** Elements as numbers; f16 widened. */
export function numbersOf({
  dtype,
  data,
}: Tensor): Float32Array | Float64Array | readonly number[] {
  if (dtype === 'f16') return widenF16(data as Uint16Array);
  if (data instanceof Float32Array || data instanceof Float64Array) return data;
  return Array.from(data as Iterable<number | bigint>, Number);
}
