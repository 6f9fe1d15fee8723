import { assert } from '@heddle/core';
import { bindAxes } from '@heddle/tensor';
import type { Real } from './lorsa-weights.ts';

/**
 * Training loss: L = Σ_t weight_t ‖ŷ_t − y_t‖², with weight_t = 1 / (number of valid tokens) on valid ones and 0 on
 * padding and special tokens, which stay keys.
 *
 *   y, reconstruction   [token, d_model]      weight   one number per token
 */
export function lorsaLoss(y: Real, reconstruction: Real, weight: ArrayLike<number>): number {
  const { token, d_model } = bindAxes({
    y: [y, 'token d_model'],
    reconstruction: [reconstruction, 'token d_model'],
  });
  assert(weight.length === token, () => `${weight.length} weights for ${token} tokens`);
  let loss = 0;
  for (let t = 0; t < token; t++) {
    for (let d = 0; d < d_model; d++) {
      const error = reconstruction.data[t * d_model + d] - y.data[t * d_model + d];
      loss += weight[t] * error * error;
    }
  }
  return loss;
}

/** 1/count on valid tokens, 0 elsewhere. Asserts that there is a valid one. */
export function tokenWeights(valid: ArrayLike<number | boolean>): Float32Array {
  let count = 0;
  for (let t = 0; t < valid.length; t++) if (valid[t]) count++;
  assert(count > 0, 'a batch without a valid token has no loss');
  return Float32Array.from({ length: valid.length }, (_, t) => (valid[t] ? 1 / count : 0));
}
