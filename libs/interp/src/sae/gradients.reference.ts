import { type Tensor, zeros } from '@heddle/tensor';
import { type SaeForward, saeForward } from './forward.reference.ts';
import { mapSae, type SaeConfig, type SaeWeights } from './sae-config.ts';

type Real = Tensor<'f32' | 'f64'>;

export interface SaeGradients {
  readonly loss: number;
  readonly gradients: SaeWeights<Tensor<'f64'>>;
  readonly forward: SaeForward;
}

/**
 * Loss Σ_t w_t ‖ŷ_t − y_t‖² and its gradients, by hand, fp64; the choice of winners passes none.
 *
 *   y [token, d_model] · weight [token]: 1 / valid tokens where a token counts, else 0
 *
 *   r = 2 w (ŷ − y)    ∂W_dec = fᵀ r    δ = r W_decᵀ on the active    ∂b_enc = Σ δ    ∂W_enc = (y − b_dec)ᵀ δ
 *   ∂b_dec = Σ r − Σ δ W_encᵀ
 */
export function saeGradients(
  config: SaeConfig,
  weights: SaeWeights,
  { y, weight }: { readonly y: Real; readonly weight: ArrayLike<number> },
): SaeGradients {
  const { d_model, d_sae } = config;
  const forward = saeForward(config, weights, y);
  const gradients = mapSae(weights, (t) => zeros('f64', t.shape));
  const { W_enc, W_dec, b_enc, b_dec } = gradients;
  let loss = 0;
  for (let t = 0; t < weight.length; t++) {
    if (weight[t] === 0) continue;
    const r = new Float64Array(d_model);
    for (let d = 0; d < d_model; d++) {
      const error = forward.reconstruction.data[t * d_model + d] - y.data[t * d_model + d];
      loss += weight[t] * error * error;
      r[d] = 2 * weight[t] * error;
      b_dec.data[d] += r[d];
    }
    for (let i = 0; i < d_sae; i++) {
      const f = forward.featureActs.data[t * d_sae + i];
      if (f === 0) continue;
      let delta = 0;
      for (let d = 0; d < d_model; d++) {
        W_dec.data[i * d_model + d] += f * r[d];
        delta += r[d] * weights.W_dec.data[i * d_model + d];
      }
      b_enc.data[i] += delta;
      for (let d = 0; d < d_model; d++) {
        const centred = y.data[t * d_model + d] - weights.b_dec.data[d];
        W_enc.data[d * d_sae + i] += centred * delta;
        b_dec.data[d] -= delta * weights.W_enc.data[d * d_sae + i];
      }
    }
  }
  return { loss, gradients, forward };
}
