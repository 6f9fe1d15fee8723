import type { Tensor } from '@heddle/tensor';
import { type LorsaForward, lorsaForward, type Projection } from './forward.reference.ts';
import { gate } from './gate.ts';
import { groupSize, type LorsaConfig } from './lorsa-config.ts';
import { decoderNorms, type LorsaWeights, type Real, zeroWeights } from './lorsa-weights.ts';
import { lorsaLoss } from './loss.reference.ts';
import { rotaryTable, rotate } from './rotary.ts';

type Gradients = LorsaWeights<Tensor<'f64'>>;

/** AuxK for the twin: which heads are dead, `[ov_head]`, and how many of them a token may revive. */
export interface AuxiliaryTwin {
  readonly dead: ArrayLike<number>;
  readonly topK: number;
  readonly coefficient: number;
}

export interface LorsaGradients {
  /** With AuxK's part. */
  readonly loss: number;
  readonly auxiliaryLoss: number;
  readonly forward: LorsaForward;
  readonly gradients: Gradients;
}

/**
 * Loss of one sequence and its gradient with respect to every parameter, by hand, fp64. The gate passes the gradient
 * unchanged where a head is active and nothing elsewhere; which heads win is held fixed (no straight-through).
 *
 *   x, y   [pos, d_model]      weight   one number per position, see `lorsaLoss`
 */
export function lorsaGradients(
  config: LorsaConfig,
  weights: LorsaWeights,
  batch: { readonly x: Real; readonly y: Real; readonly weight: ArrayLike<number> },
  options: { readonly topK?: number; readonly auxiliary?: AuxiliaryTwin } = {},
): LorsaGradients {
  const { x, y, weight } = batch;
  const forward = lorsaForward(config, weights, x, options);
  const loss = lorsaLoss(y, forward.reconstruction, weight);
  const zero = zeroWeights(config);
  zero.ln_q?.data.fill(0); // gains start at one, their gradients at nothing
  zero.ln_k?.data.fill(0);

  const d_z = throughDecoder(config, weights, forward, { y, weight, into: zero });
  const { auxiliary } = options;
  const auxiliaryLoss =
    auxiliary && Array.from(auxiliary.dead).some((d) => d !== 0)
      ? throughAuxiliary(config, weights, forward, { y, weight, into: zero, d_z, auxiliary })
      : 0;
  const d_pattern = throughMixing(config, forward, { x, d_z, into: zero });
  throughScores(config, weights, forward, { x, d_pattern, into: zero });
  return { loss: loss + auxiliaryLoss, auxiliaryLoss, forward, gradients: zero };
}

/** dŷ = 2 weight (ŷ − y); db_D = Σ dŷ; dw_o = Σ z dŷ; dz = dŷ·w_o where active. Returns dz `[pos, ov_head]`. */
function throughDecoder(
  config: LorsaConfig,
  weights: LorsaWeights,
  { featureActs, reconstruction }: LorsaForward,
  { y, weight, into }: { y: Real; weight: ArrayLike<number>; into: Gradients },
): Float64Array {
  const { d_model, n_ov_heads } = config;
  const pos = y.shape[0];
  const d_z = new Float64Array(pos * n_ov_heads);
  const d_out = new Float64Array(d_model);
  for (let t = 0; t < pos; t++) {
    for (let d = 0; d < d_model; d++) {
      const at = t * d_model + d;
      d_out[d] = 2 * weight[t] * (reconstruction.data[at] - y.data[at]);
      into.b_D.data[d] += d_out[d];
    }
    for (let i = 0; i < n_ov_heads; i++) {
      const z = featureActs.data[t * n_ov_heads + i];
      if (z === 0) continue;
      let dot = 0;
      for (let d = 0; d < d_model; d++) {
        dot += d_out[d] * weights.W_O.data[i * d_model + d];
        into.W_O.data[i * d_model + d] += z * d_out[d];
      }
      d_z[t * n_ov_heads + i] = dot;
    }
  }
  return d_z;
}

/**
 * AuxK: ê = Σ z w_o over the token's strongest dead heads, c weight ‖ê − e‖² with e = y − ŷ held fixed. Adds dw_o = Σ z dê
 * and dz = dê·w_o, dê = 2 c weight (ê − e). Returns the loss.
 */
function throughAuxiliary(
  config: LorsaConfig,
  weights: LorsaWeights,
  { preActivations, reconstruction }: LorsaForward,
  of: {
    readonly y: Real;
    readonly weight: ArrayLike<number>;
    readonly into: Gradients;
    readonly d_z: Float64Array;
    readonly auxiliary: AuxiliaryTwin;
  },
): number {
  const { d_model, n_ov_heads } = config;
  const { dead, topK, coefficient } = of.auxiliary;
  const among = preActivations.data.map((pre, at) => (dead[at % n_ov_heads] ? pre : 0));
  const z = gate(config, { decoderNorms: decoderNorms(weights), topK }, among);
  let loss = 0;
  for (let t = 0; t < of.y.shape[0]; t++) {
    const rest = new Float64Array(d_model); // ê − e
    for (let d = 0; d < d_model; d++) {
      const at = t * d_model + d;
      rest[d] = reconstruction.data[at] - of.y.data[at];
      for (let i = 0; i < n_ov_heads; i++) {
        rest[d] += z[t * n_ov_heads + i] * weights.W_O.data[i * d_model + d];
      }
      loss += coefficient * of.weight[t] * rest[d] ** 2;
    }
    for (let i = 0; i < n_ov_heads; i++) {
      const act = z[t * n_ov_heads + i];
      if (act === 0) continue;
      for (let d = 0; d < d_model; d++) {
        const d_e = 2 * coefficient * of.weight[t] * rest[d];
        of.d_z[t * n_ov_heads + i] += d_e * weights.W_O.data[i * d_model + d];
        of.into.W_O.data[i * d_model + d] += act * d_e;
      }
    }
  }
  return loss;
}

/** dA(t,s) = Σ_{i in group} dz_ti v_si; dv_si = Σ_t A(t,s) dz_ti; dw_v = Σ dv x. Returns dA `[qk_head, query_pos, key_pos]`. */
function throughMixing(
  config: LorsaConfig,
  { pattern, values }: LorsaForward,
  { x, d_z, into }: { x: Real; d_z: Float64Array; into: Gradients },
): Float64Array {
  const { d_model, n_ov_heads } = config;
  const pos = x.shape[0];
  const group = groupSize(config);
  const d_pattern = new Float64Array(pattern.data.length);
  for (let i = 0; i < n_ov_heads; i++) {
    const head = Math.floor(i / group);
    const d_v = new Float64Array(pos);
    for (let t = 0; t < pos; t++) {
      const d = d_z[t * n_ov_heads + i];
      if (d === 0) continue;
      const row = (head * pos + t) * pos;
      for (let s = 0; s <= t; s++) {
        d_pattern[row + s] += d * values.data[s * n_ov_heads + i];
        d_v[s] += pattern.data[row + s] * d;
      }
    }
    for (let s = 0; s < pos; s++) {
      into.b_V.data[i] += d_v[s];
      for (let d = 0; d < d_model; d++) {
        into.W_V.data[i * d_model + d] += d_v[s] * x.data[s * d_model + d];
      }
    }
  }
  return d_pattern;
}

/** dS = A ⊙ (dA − Σ_s A dA) / attn_scale; dq = dS k; dk = dSᵀ q; then back through rotary, norm and projection. */
function throughScores(
  config: LorsaConfig,
  weights: LorsaWeights,
  { pattern, projections }: LorsaForward,
  { x, d_pattern, into }: { x: Real; d_pattern: Float64Array; into: Gradients },
): void {
  const { d_qk_head, attnScale } = config;
  const pos = x.shape[0];
  projections.forEach(({ q, k }, head) => {
    const d_q = new Float64Array(pos * d_qk_head);
    const d_k = new Float64Array(pos * d_qk_head);
    for (let t = 0; t < pos; t++) {
      const row = (head * pos + t) * pos;
      let mean = 0;
      for (let s = 0; s <= t; s++) mean += pattern.data[row + s] * d_pattern[row + s];
      for (let s = 0; s <= t; s++) {
        const d_score = (pattern.data[row + s] * (d_pattern[row + s] - mean)) / attnScale;
        for (let c = 0; c < d_qk_head; c++) {
          d_q[t * d_qk_head + c] += d_score * k.final[s * d_qk_head + c];
          d_k[s * d_qk_head + c] += d_score * q.final[t * d_qk_head + c];
        }
      }
    }
    throughProjection(config, { x, head, d_final: d_q, projection: q, gain: weights.ln_q }, [
      into.W_Q,
      into.b_Q,
      into.ln_q,
    ]);
    throughProjection(config, { x, head, d_final: d_k, projection: k, gain: weights.ln_k }, [
      into.W_K,
      into.b_K,
      into.ln_k,
    ]);
  });
}

interface ProjectionCotangent {
  readonly x: Real;
  readonly head: number;
  readonly d_final: Float64Array;
  readonly projection: Projection;
  readonly gain: Real | undefined;
}

function throughProjection(
  config: LorsaConfig,
  { x, head, d_final, projection, gain }: ProjectionCotangent,
  [d_W, d_b, d_gain]: readonly [Real, Real, Real | undefined],
): void {
  const { d_model, d_qk_head, rotary } = config;
  const pos = x.shape[0];
  const d_normed = rotary
    ? rotate(rotary, rotaryTable(rotary, pos), d_final, d_qk_head, true)
    : d_final;
  const d_raw = gain
    ? throughNorm(projection, d_normed, { gain, d_gain, head, d_qk_head })
    : d_normed;
  for (let t = 0; t < pos; t++) {
    for (let c = 0; c < d_qk_head; c++) {
      const d = d_raw[t * d_qk_head + c];
      d_b.data[head * d_qk_head + c] += d;
      for (let m = 0; m < d_model; m++) {
        d_W.data[(head * d_model + m) * d_qk_head + c] += x.data[t * d_model + m] * d;
      }
    }
  }
}

/** y = gain x / rms: dgain += dy x / rms; dx = (gain dy − x Σ(gain dy x) / (n rms²)) / rms. */
function throughNorm(
  { raw, rms }: Projection,
  d_out: Float64Array,
  at: { gain: Real; d_gain: Real | undefined; head: number; d_qk_head: number },
): Float64Array {
  const { gain, d_gain, head, d_qk_head: n } = at;
  const d_raw = new Float64Array(raw.length);
  for (let t = 0; t < rms.length; t++) {
    let dot = 0;
    for (let c = 0; c < n; c++) {
      const index = t * n + c;
      dot += gain.data[head * n + c] * d_out[index] * raw[index];
      if (d_gain) d_gain.data[head * n + c] += (d_out[index] * raw[index]) / rms[t];
    }
    for (let c = 0; c < n; c++) {
      const index = t * n + c;
      const direct = gain.data[head * n + c] * d_out[index];
      d_raw[index] = (direct - (raw[index] * dot) / (n * rms[t] ** 2)) / rms[t];
    }
  }
  return d_raw;
}
