import { Rng, type RngState } from '@heddle/core';

/** Which sequences a step takes, and where the order stands after it. */
export interface DrawnBatch {
  readonly indices: readonly number[];
  readonly cursor: number;
  readonly epochRng: RngState;
}

/**
 * The next batch of whole sequences: a new shuffled order each epoch, read in turn; a batch may span two epochs. The
 * order follows from the generator's state alone, so that a resumed training sees the same sequences.
 */
export function drawBatch(
  count: number,
  batch: number,
  from: { readonly cursor: number; readonly epochRng: RngState },
): DrawnBatch {
  const indices: number[] = [];
  let { cursor, epochRng } = from;
  let epoch = shuffled(count, epochRng);
  while (indices.length < batch) {
    if (cursor === count) {
      epochRng = epoch.after;
      epoch = shuffled(count, epochRng);
      cursor = 0;
    }
    indices.push(epoch.order[cursor]);
    cursor++;
  }
  return { indices, cursor, epochRng };
}

function shuffled(count: number, state: RngState) {
  const rng = Rng.restore(state);
  const order = rng.shuffle(Array.from({ length: count }, (_, i) => i));
  return { order, after: rng.snapshot() };
}
