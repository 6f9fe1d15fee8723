import type { Tensor } from '@heddle/tensor';

/** Whole sequences, padded on the right: x, y `[batch, pos, d_model]`, valid `[batch, pos]` 0/1. */
export interface Sequences {
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  readonly valid: Tensor<'u8'>;
}
