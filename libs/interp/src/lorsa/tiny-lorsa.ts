import type { Rng } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, mapWeights, zeroWeights } from './lorsa-weights.ts';

/** A small config for tests and examples: 2 shared heads of 4, 8 rank-one heads, d_model 6, no rotary, K 3. */
export function tinyLorsaConfig(changes: Partial<LorsaConfig> = {}): LorsaConfig {
  return {
    d_model: 6,
    n_ov_heads: 8,
    n_qk_heads: 2,
    d_qk_head: 4,
    n_ctx: 16,
    activation: 'topk',
    topK: 3,
    signed: false,
    decoderNormInGate: true,
    useDecoderBias: true,
    attnScale: 2,
    rotary: undefined,
    qkNormEps: undefined,
    ...changes,
  };
}

/** Every parameter drawn from a normal distribution, biases too, so that no term can hide. */
export function randomLorsa(config: LorsaConfig, rng: Rng): LorsaWeights<Tensor<'f64'>> {
  return mapWeights(zeroWeights(config), (t) => ({ ...t, data: t.data.map(() => rng.normal()) }));
}

export function randomRows(rng: Rng, ...shape: number[]): Tensor<'f64'> {
  const count = shape.reduce((a, b) => a * b, 1);
  return { dtype: 'f64', shape, data: Float64Array.from({ length: count }, () => rng.normal()) };
}
