import type { TopK } from './topk.ts';

/** The slow twin of `topk`: sorts everything. */
export function topkReference(values: ArrayLike<number>, k: number): TopK {
  const order = Array.from({ length: values.length }, (_, i) => i);
  order.sort((i, j) => (values[i] === values[j] ? i - j : values[i] < values[j] ? 1 : -1));
  const kept = order.slice(0, k);
  return { values: Float64Array.from(kept, (i) => values[i]), indices: Int32Array.from(kept) };
}
