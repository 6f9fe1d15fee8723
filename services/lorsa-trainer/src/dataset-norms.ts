import { invalidArgument } from '@heddle/core';
import { type MeanNorms, meanNorm } from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import type { BatchReader } from './batch-reader.ts';
import type { DataPlace } from './epoch-order.ts';
import { NORM_TOKENS } from './limits.ts';
import type { Sequences } from './sequences.ts';

const UNSCALED = { input: 1, output: 1 };

/**
 * Mean norms over the valid tokens of some batches, in the order in which an epoch reads them (methods 1.4). Errors:
 * `invalid_argument` for text of special tokens only.
 */
export async function measuredNorms(
  reader: BatchReader,
  from: DataPlace,
  batchSize: number,
): Promise<MeanNorms> {
  let place = from;
  let tokens = 0;
  let sums: MeanNorms = { input: 0, output: 0 };
  for (let read = 0; read < NORM_TOKENS; ) {
    const next = await reader.next(place, batchSize, UNSCALED);
    const own = next.batch.valid.data.reduce((sum, v) => sum + v, 0);
    if (own > 0) {
      const { input, output } = batchNorms(next.batch);
      sums = { input: sums.input + own * input, output: sums.output + own * output };
    }
    tokens += own;
    read += next.batch.valid.data.length;
    const wrapped = next.place.epochRng !== place.epochRng;
    place = next.place;
    if (wrapped) break; // the text has no more
  }
  if (tokens > 0) return { input: sums.input / tokens, output: sums.output / tokens };
  throw invalidArgument('the text has special tokens only', { field: 'data' });
}

function batchNorms({ x, y, valid }: Sequences): MeanNorms {
  const rows = (t: Tensor<'f32'>) => {
    const d_model = t.shape[2] ?? 0;
    return tensor('f32', [t.data.length / d_model, d_model], t.data);
  };
  return { input: meanNorm(rows(x), valid.data), output: meanNorm(rows(y), valid.data) };
}
