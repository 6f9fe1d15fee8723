import { type Tensor, zeros } from '@heddle/tensor';
import { type SaeForward, saeForward, winners } from './forward.reference.ts';
import { mapSae, type SaeConfig, type SaeWeights, saeDecoderNorms } from './sae-config.ts';

type Real = Tensor<'f32' | 'f64'>;

export interface SaeGradients {
  /** Main loss and AuxK's. */
  readonly loss: number;
  readonly auxiliaryLoss: number;
  readonly gradients: SaeWeights<Tensor<'f64'>>;
  readonly forward: SaeForward;
}

/** AuxK: the `topK` dead features that rank highest rebuild what the others leave. */
export interface SaeAuxiliary {
  readonly coefficient: number;
  readonly topK: number;
  /** `[feature]`. */
  readonly dead: ArrayLike<number | boolean>;
}

export interface SaeTargets {
  readonly y: Real;
  /** `[token]`: 1 / valid tokens where a token counts, else 0. */
  readonly weight: ArrayLike<number>;
  readonly auxiliary?: SaeAuxiliary;
}

/**
 * Loss Σ_t w_t ‖ŷ_t − y_t‖² and its gradients, by hand, fp64; the choice of winners passes none.
 *
 *   y [token, d_model] · weight [token]
 *
 *   r = 2 w (ŷ − y)    ∂W_dec = fᵀ r    δ = r W_decᵀ on the active    ∂b_enc = Σ δ    ∂W_enc = (y − b_dec)ᵀ δ
 *   ∂b_dec = Σ r − Σ δ W_encᵀ
 *
 * With AuxK also coefficient · Σ_t w_t ‖e_t − ê_t‖², ê = f' W_dec over dead features, e = y − ŷ held fixed.
 */
export function saeGradients(
  config: SaeConfig,
  weights: SaeWeights,
  { y, weight, auxiliary }: SaeTargets,
): SaeGradients {
  const { d_model, d_sae } = config;
  const forward = saeForward(config, weights, y);
  const gradients = mapSae(weights, (t) => zeros('f64', t.shape));
  const norms = saeDecoderNorms(weights);
  let [loss, auxiliaryLoss] = [0, 0];
  for (let t = 0; t < weight.length; t++) {
    if (weight[t] === 0) continue;
    const row = { t, y, acts: forward.featureActs.data.subarray(t * d_sae, (t + 1) * d_sae) };
    const error = forward.reconstruction.data
      .slice(t * d_model, (t + 1) * d_model)
      .map((value, d) => value - y.data[t * d_model + d]);
    loss += weight[t] * square(error);
    const slope = error.map((value) => 2 * weight[t] * value);
    slope.forEach((value, d) => {
      gradients.b_dec.data[d] += value;
    });
    backward(weights, gradients, row, slope);
    if (!auxiliary || !Array.from(auxiliary.dead).some(Boolean)) continue; // nobody to rebuild anything
    const pre = forward.preActivations.data.subarray(t * d_sae, (t + 1) * d_sae);
    const acts = deadActs(pre, norms, auxiliary);
    const rest = rebuilt(weights, acts, d_model).map((value, d) => value + error[d]);
    auxiliaryLoss += auxiliary.coefficient * weight[t] * square(rest);
    const pull = rest.map((value) => 2 * auxiliary.coefficient * weight[t] * value);
    backward(weights, gradients, { ...row, acts }, pull);
  }
  return { loss: loss + auxiliaryLoss, auxiliaryLoss, gradients, forward };
}

const square = (values: Float64Array): number => values.reduce((sum, v) => sum + v * v, 0);

/** Adds one token's share through its active features; `slope` is d loss / d (f W_dec). */
function backward(
  weights: SaeWeights,
  { W_enc, W_dec, b_enc, b_dec }: SaeWeights<Tensor<'f64'>>,
  { t, y, acts }: { readonly t: number; readonly y: Real; readonly acts: Float64Array },
  slope: Float64Array,
): void {
  const [d_model, d_sae] = [slope.length, acts.length];
  for (let i = 0; i < d_sae; i++) {
    if (acts[i] === 0) continue;
    let delta = 0;
    for (let d = 0; d < d_model; d++) {
      W_dec.data[i * d_model + d] += acts[i] * slope[d];
      delta += slope[d] * weights.W_dec.data[i * d_model + d];
    }
    b_enc.data[i] += delta;
    for (let d = 0; d < d_model; d++) {
      const centred = y.data[t * d_model + d] - weights.b_dec.data[d];
      W_enc.data[d * d_sae + i] += centred * delta;
      b_dec.data[d] -= delta * weights.W_enc.data[d * d_sae + i];
    }
  }
}

function deadActs(
  pre: Float64Array,
  norms: Float64Array,
  { dead, topK }: SaeAuxiliary,
): Float64Array {
  const masked = norms.map((norm, i) => (dead[i] ? norm : 0));
  const acts = new Float64Array(pre.length);
  for (const i of winners(pre, masked, topK)) acts[i] = pre[i];
  return acts;
}

function rebuilt(weights: SaeWeights, acts: Float64Array, d_model: number): Float64Array {
  const out = new Float64Array(d_model);
  for (let i = 0; i < acts.length; i++) {
    for (let d = 0; d < d_model; d++) out[d] += acts[i] * weights.W_dec.data[i * d_model + d];
  }
  return out;
}
