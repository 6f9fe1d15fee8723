import { assert } from '@heddle/core';
import { bindAxes, type Tensor } from '@heddle/tensor';
import { gate } from './gate.ts';
import { groupSize, type LorsaConfig } from './lorsa-config.ts';
import { bindWeights, decoderNorms, type LorsaWeights, type Real } from './lorsa-weights.ts';
import { type RotaryTable, rotaryTable, rotate } from './rotary.ts';

/** One sequence up to the pre-activations, with what the backward pass reads again. */
export interface LorsaEncoding {
  /** Attention of each shared head, `[qk_head, query_pos, key_pos]`; rows sum to 1, positions after the query are 0. */
  readonly pattern: Tensor<'f64'>;
  /** v of each rank-one head, `[pos, ov_head]`. */
  readonly values: Tensor<'f64'>;
  /** z̃ before the gate, `[pos, ov_head]`. */
  readonly preActivations: Tensor<'f64'>;
  /** Per shared head `[pos, d_head]`: the projections, and what meets in the score (after norm and rotary). */
  readonly projections: readonly { q: Projection; k: Projection }[];
}

/** A query or key on its way: as projected, its RMS per position (1 without a norm), as scored. */
export interface Projection {
  readonly raw: Float64Array;
  readonly rms: Float64Array;
  readonly final: Float64Array;
}

export interface LorsaForward extends LorsaEncoding {
  /** z, `[pos, ov_head]`. */
  readonly featureActs: Tensor<'f64'>;
  /** ŷ, `[pos, d_model]`. */
  readonly reconstruction: Tensor<'f64'>;
}

/**
 * Lorsa's forward pass, fp64, straight from the formulas (methods 1.3).
 *
 *   q = x W_Q + b_Q, k = x W_K + b_K (RMS-normed and rotated where the config says), v = x·w_v + b_V
 *   A = softmax(q kᵀ / attn_scale) over s ≤ t;  z̃_i = A^{i/G} v_i;  z = gate(z̃);  ŷ = Σ_i z_i w_o_i + b_D
 *
 *   x       [pos, d_model]   exactly what the host multiplies by W_Q, in the units of the weights
 *   return  `LorsaForward`
 *
 * Cost per sequence: pos · d_model · n_ov_heads, plus pos² · n_ov_heads. He et al. 2025.
 */
export function lorsaForward(
  config: LorsaConfig,
  weights: LorsaWeights,
  x: Real,
  options: { readonly topK?: number } = {},
): LorsaForward {
  const encoding = lorsaEncode(config, weights, x);
  const numbers = {
    decoderNorms: decoderNorms(weights),
    thresholds: weights.logThreshold && Float64Array.from(weights.logThreshold.data, Math.exp),
    topK: options.topK,
  };
  const { preActivations } = encoding;
  const featureActs: Tensor<'f64'> = {
    ...preActivations,
    data: gate(config, numbers, preActivations.data),
  };
  return { ...encoding, featureActs, reconstruction: lorsaDecode(weights, featureActs) };
}

/** One sequence up to its pre-activations. */
export function lorsaEncode(config: LorsaConfig, weights: LorsaWeights, x: Real): LorsaEncoding {
  bindWeights(config, weights);
  const { pos } = bindAxes({
    x: [x, 'pos d_model'],
    config: [{ shape: [config.d_model] }, 'd_model'],
  });
  assert(pos <= config.n_ctx, () => `${pos} positions are more than n_ctx ${config.n_ctx}`);
  const table = config.rotary && rotaryTable(config.rotary, pos);
  const projections = Array.from({ length: config.n_qk_heads }, (_, head) => ({
    q: project(config, weights.W_Q, weights.b_Q, weights.ln_q, { x, head, table }),
    k: project(config, weights.W_K, weights.b_K, weights.ln_k, { x, head, table }),
  }));
  const pattern = new Float64Array(config.n_qk_heads * pos * pos);
  projections.forEach(({ q, k }, head) => {
    softmaxScores(config, q.final, k.final, pattern.subarray(head * pos * pos));
  });
  const values = readValues(weights, x);
  return {
    pattern: { dtype: 'f64', shape: [config.n_qk_heads, pos, pos], data: pattern },
    values: { dtype: 'f64', shape: [pos, config.n_ov_heads], data: values },
    preActivations: {
      dtype: 'f64',
      shape: [pos, config.n_ov_heads],
      data: mixValues(config, pattern, values, pos),
    },
    projections,
  };
}

/** ŷ = Σ_i z_i w_o_i + b_D: `[token, ov_head]` → `[token, d_model]`. */
export function lorsaDecode(weights: LorsaWeights, featureActs: Tensor<'f64'>): Tensor<'f64'> {
  const { token, ov_head, d_model } = bindAxes({
    z: [featureActs, 'token ov_head'],
    W_O: [weights.W_O, 'ov_head d_model'],
  });
  const out = new Float64Array(token * d_model);
  for (let t = 0; t < token; t++) {
    for (let d = 0; d < d_model; d++) out[t * d_model + d] = weights.b_D.data[d];
    for (let i = 0; i < ov_head; i++) {
      const z = featureActs.data[t * ov_head + i];
      if (z === 0) continue;
      for (let d = 0; d < d_model; d++) {
        out[t * d_model + d] += z * weights.W_O.data[i * d_model + d];
      }
    }
  }
  return { dtype: 'f64', shape: [token, d_model], data: out };
}

interface Place {
  readonly x: Real;
  readonly head: number;
  readonly table: RotaryTable | undefined;
}

/** x W + b of one shared head, then its RMS norm with gain, then rotary. */
function project(
  config: LorsaConfig,
  W: Real,
  b: Real,
  gain: Real | undefined,
  { x, head, table }: Place,
): Projection {
  const { d_model, d_qk_head } = config;
  const pos = x.shape[0];
  const raw = new Float64Array(pos * d_qk_head);
  for (let t = 0; t < pos; t++) {
    for (let c = 0; c < d_qk_head; c++) {
      let sum = b.data[head * d_qk_head + c];
      for (let d = 0; d < d_model; d++) {
        sum += x.data[t * d_model + d] * W.data[(head * d_model + d) * d_qk_head + c];
      }
      raw[t * d_qk_head + c] = sum;
    }
  }
  const rms = new Float64Array(pos).fill(1);
  let final: Float64Array = raw.slice();
  if (config.qkNormEps !== undefined) {
    assert(gain, 'a config with a query-key norm comes with its gains');
    for (let t = 0; t < pos; t++) {
      let square = 0;
      for (let c = 0; c < d_qk_head; c++) square += raw[t * d_qk_head + c] ** 2;
      rms[t] = Math.sqrt(square / d_qk_head + config.qkNormEps);
      for (let c = 0; c < d_qk_head; c++) {
        final[t * d_qk_head + c] *= gain.data[head * d_qk_head + c] / rms[t];
      }
    }
  }
  if (config.rotary && table) final = rotate(config.rotary, table, final, d_qk_head);
  return { raw, rms, final };
}

/** Causal softmax of q kᵀ / attn_scale into `[query_pos, key_pos]`. */
function softmaxScores(
  config: LorsaConfig,
  q: Float64Array,
  k: Float64Array,
  out: Float64Array,
): void {
  const { d_qk_head, attnScale } = config;
  const pos = q.length / d_qk_head;
  for (let t = 0; t < pos; t++) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let s = 0; s <= t; s++) {
      let dot = 0;
      for (let c = 0; c < d_qk_head; c++) dot += q[t * d_qk_head + c] * k[s * d_qk_head + c];
      out[t * pos + s] = dot / attnScale;
      largest = Math.max(largest, out[t * pos + s]);
    }
    let total = 0;
    for (let s = 0; s <= t; s++) {
      out[t * pos + s] = Math.exp(out[t * pos + s] - largest);
      total += out[t * pos + s];
    }
    for (let s = 0; s <= t; s++) out[t * pos + s] /= total;
  }
}

/** v = x·w_v + b_V, `[pos, ov_head]`. */
function readValues(weights: LorsaWeights, x: Real): Float64Array {
  const [pos, d_model] = x.shape;
  const heads = weights.b_V.data.length;
  const out = new Float64Array(pos * heads);
  for (let t = 0; t < pos; t++) {
    for (let i = 0; i < heads; i++) {
      let sum = weights.b_V.data[i];
      for (let d = 0; d < d_model; d++) {
        sum += x.data[t * d_model + d] * weights.W_V.data[i * d_model + d];
      }
      out[t * heads + i] = sum;
    }
  }
  return out;
}

/** z̃_t = Σ_s A^{h(i)}(t, s) v_s, `[pos, ov_head]`. */
function mixValues(
  config: LorsaConfig,
  pattern: Float64Array,
  values: Float64Array,
  pos: number,
): Float64Array {
  const heads = config.n_ov_heads;
  const group = groupSize(config);
  const out = new Float64Array(pos * heads);
  for (let t = 0; t < pos; t++) {
    for (let i = 0; i < heads; i++) {
      const row = (Math.floor(i / group) * pos + t) * pos;
      let sum = 0;
      for (let s = 0; s <= t; s++) sum += pattern[row + s] * values[s * heads + i];
      out[t * heads + i] = sum;
    }
  }
  return out;
}
