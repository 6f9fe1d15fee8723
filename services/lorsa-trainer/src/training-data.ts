import { type MeanNorms, scaleFactors } from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';

/** Whole sequences, padded on the right: x, y `[batch, pos, d_model]`, valid `[batch, pos]` 0/1. */
export interface Sequences {
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  readonly valid: Tensor<'u8'>;
}

/** Sequences by index, in that order. */
export function taken(all: Sequences, indices: readonly number[]): Sequences {
  const [, pos = 0, d_model = 0] = all.x.shape;
  const rows = (t: Tensor<'f32'>) => {
    const size = pos * d_model;
    const data = new Float32Array(indices.length * size);
    indices.forEach((from, to) => {
      data.set(t.data.subarray(from * size, (from + 1) * size), to * size);
    });
    return tensor('f32', [indices.length, pos, d_model], data);
  };
  const valid = new Uint8Array(indices.length * pos);
  indices.forEach((from, to) => {
    valid.set(all.valid.data.subarray(from * pos, (from + 1) * pos), to * pos);
  });
  return { x: rows(all.x), y: rows(all.y), valid: tensor('u8', [indices.length, pos], valid) };
}

/** x · c_in and y · c_out. */
export function normalised(sequences: Sequences, norms: MeanNorms): Sequences {
  const factors = scaleFactors(sequences.x.shape[2] ?? 0, norms);
  const times = (t: Tensor<'f32'>, factor: number) => ({
    ...t,
    data: t.data.map((value) => value * factor),
  });
  return {
    ...sequences,
    x: times(sequences.x, factors.input),
    y: times(sequences.y, factors.output),
  };
}
