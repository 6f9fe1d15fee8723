import { assert, invalidArgument } from '@heddle/core';

export interface TopK {
  readonly values: Float64Array;
  readonly indices: Int32Array;
}

/**
 * *The k largest values*, descending; ties by index, ascending (as in every TopK of ours).
 * Infinities are ordered, NaN is refused by index. Asserts 0 ≤ k ≤ n. Cost n log k: a heap whose
 * root is the worst one kept.
 */
export function topk(values: ArrayLike<number>, k: number, name = 'values'): TopK {
  const n = values.length;
  assert(Number.isInteger(k) && k >= 0 && k <= n, () => `top ${k} of ${n}`);
  const heap: number[] = [];
  /** i is worse than j: smaller, or equal and later. */
  const worse = (i: number, j: number) =>
    values[i] < values[j] || (values[i] === values[j] && i > j);
  for (let i = 0; i < n; i++) {
    if (Number.isNaN(values[i])) {
      throw invalidArgument(`${name} holds NaN at index ${i}`, { details: { name, index: i } });
    }
    if (heap.length < k) siftUp(heap, i, worse);
    else if (k > 0 && worse(heap[0], i)) siftDown(heap, i, worse);
  }
  heap.sort((i, j) => (worse(j, i) ? -1 : 1));
  return {
    values: Float64Array.from(heap, (i) => values[i]),
    indices: Int32Array.from(heap),
  };
}

function siftUp(heap: number[], item: number, worse: (i: number, j: number) => boolean): void {
  let at = heap.length;
  heap.push(item);
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!worse(item, heap[parent])) break;
    heap[at] = heap[parent];
    at = parent;
  }
  heap[at] = item;
}

/** Replaces the root, and lets the new item sink below every child that is worse. */
function siftDown(heap: number[], item: number, worse: (i: number, j: number) => boolean): void {
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && worse(heap[child + 1], heap[child])) child++;
    if (!worse(heap[child], item)) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = item;
}
