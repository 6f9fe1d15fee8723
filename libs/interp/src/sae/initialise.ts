import type { Rng } from '@heddle/core';
import { type Tensor, zeros } from '@heddle/tensor';
import { type SaeConfig, type SaeWeights, saeShape } from './sae-config.ts';

/**
 * Where an autoencoder starts (Gao et al. 2024): decoder rows drawn evenly from the unit sphere, the encoder their
 * transpose, encoder biases zero, the decoder's bias the mean of y.
 *
 *   mean  [d_model]
 */
export function initialiseSae(
  config: SaeConfig,
  mean: Tensor<'f32' | 'f64'>,
  rng: Rng,
): SaeWeights<Tensor<'f64'>> {
  const { d_model, d_sae } = config;
  const W_dec = zeros('f64', saeShape(config, 'W_dec'));
  const W_enc = zeros('f64', saeShape(config, 'W_enc'));
  for (let i = 0; i < d_sae; i++) {
    const row = Float64Array.from({ length: d_model }, () => rng.normal());
    const norm = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0));
    for (let d = 0; d < d_model; d++) {
      W_dec.data[i * d_model + d] = row[d] / norm;
      W_enc.data[d * d_sae + i] = row[d] / norm;
    }
  }
  const b_dec = { dtype: 'f64' as const, shape: [d_model], data: Float64Array.from(mean.data) };
  return { W_enc, b_enc: zeros('f64', [d_sae]), W_dec, b_dec };
}
