import { bindAxes, type Tensor } from '@heddle/tensor';
import { type SaeConfig, type SaeWeights, saeDecoderNorms } from './sae-config.ts';

type Real = Tensor<'f32' | 'f64'>;

export interface SaeForward {
  /** a, `[token, feature]`. */
  readonly preActivations: Tensor<'f64'>;
  /** f ≥ 0, `[token, feature]`. */
  readonly featureActs: Tensor<'f64'>;
  /** ŷ, `[token, d_model]`. */
  readonly reconstruction: Tensor<'f64'>;
}

/**
 * TopK autoencoder (Gao et al. 2024), ranked as Lorsa ranks its heads, fp64:
 *
 *   a = (y − b_dec) W_enc + b_enc    f = a where ReLU(a ‖w_dec‖) is among the K largest, else 0    ŷ = f W_dec + b_dec
 *
 *   y  [token, d_model]
 *
 * Ties go to the lower index, zeros never win. With the norm in the ranking a feature and (c w_enc, c b_enc, w_dec / c)
 * are the same one, so that no row needs to be held at unit length.
 */
export function saeForward(config: SaeConfig, weights: SaeWeights, y: Real): SaeForward {
  const { token, d_model, feature } = bindAxes({
    y: [y, 'token d_model'],
    W_enc: [weights.W_enc, 'd_model feature'],
    W_dec: [weights.W_dec, 'feature d_model'],
    b_enc: [weights.b_enc, 'feature'],
    b_dec: [weights.b_dec, 'd_model'],
  });
  const norms = saeDecoderNorms(weights);
  const pre = new Float64Array(token * feature);
  const acts = new Float64Array(token * feature);
  const out = new Float64Array(token * d_model);
  for (let t = 0; t < token; t++) {
    const row = pre.subarray(t * feature, (t + 1) * feature);
    for (let i = 0; i < feature; i++) row[i] = weights.b_enc.data[i];
    for (let d = 0; d < d_model; d++) {
      const value = y.data[t * d_model + d] - weights.b_dec.data[d];
      for (let i = 0; i < feature; i++) row[i] += value * weights.W_enc.data[d * feature + i];
    }
    for (let d = 0; d < d_model; d++) out[t * d_model + d] = weights.b_dec.data[d];
    for (const i of winners(row, norms, config.topK)) {
      acts[t * feature + i] = row[i];
      for (let d = 0; d < d_model; d++) {
        out[t * d_model + d] += row[i] * weights.W_dec.data[i * d_model + d];
      }
    }
  }
  return {
    preActivations: { dtype: 'f64', shape: [token, feature], data: pre },
    featureActs: { dtype: 'f64', shape: [token, feature], data: acts },
    reconstruction: { dtype: 'f64', shape: [token, d_model], data: out },
  };
}

/** The features whose a ‖w_dec‖ are the K largest positive ones, strongest first. */
export function winners(pre: Float64Array, norms: Float64Array, topK: number): readonly number[] {
  const rank = (i: number) => pre[i] * norms[i];
  return Array.from(pre.keys())
    .filter((i) => rank(i) > 0)
    .sort((a, b) => rank(b) - rank(a) || a - b)
    .slice(0, topK);
}
