import { assert, type Rng } from '@heddle/core';
import { bindAxes, type Tensor } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, type Real, zeroWeights } from './lorsa-weights.ts';

type F64 = Tensor<'f64'>;

/**
 * Level A: W_Q, W_K uniform within √(6 / ((n_qk_heads + d_model) d_qk_head)) (PyTorch's Xavier on a 3-D tensor, so the
 * first attention is almost uniform); W_V normal with deviation 1/√n_ov_heads; W_O normal with 1/√d_model; biases 0.
 */
export function initialiseLevelA(config: LorsaConfig, rng: Rng): LorsaWeights<F64> {
  const weights = zeroWeights(config);
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head } = config;
  const bound = Math.sqrt(6 / ((n_qk_heads + d_model) * d_qk_head));
  const fill = (t: F64, draw: () => number) => {
    for (let index = 0; index < t.data.length; index++) t.data[index] = draw();
  };
  fill(weights.W_Q, () => bound * (2 * rng.uniform() - 1));
  fill(weights.W_K, () => bound * (2 * rng.uniform() - 1));
  fill(weights.W_V, () => rng.normal() / Math.sqrt(n_ov_heads));
  fill(weights.W_O, () => rng.normal() / Math.sqrt(d_model));
  return weights;
}

/**
 * The host's attention layer in this project's orientation: W_Q, W_O `[head, d_model, d_head]` and
 * `[head, d_head, d_model]`, W_K, W_V `[kv_head, d_model, d_head]`, b_Q `[head, d_head]`, b_K, b_V `[kv_head, d_head]`.
 */
export interface HostAttention {
  readonly W_Q: Real;
  readonly W_K: Real;
  readonly W_V: Real;
  readonly W_O: Real;
  readonly b_Q?: Real | undefined;
  readonly b_K?: Real | undefined;
  readonly b_V?: Real | undefined;
  readonly b_O?: Real | undefined;
  /** Gains of the query and key RMS norm, `[d_head]`, shared by all heads. */
  readonly q_norm?: Real | undefined;
  readonly k_norm?: Real | undefined;
}

/**
 * Level B, step 1: starts every shared head as the host head it stands for. Head j copies host head floor(j/r) with
 * r = n_qk_heads / head (each repeated in a row, never tiled, so that groups of rank-one heads stay aligned with
 * their host head); W / c_in, because Lorsa's input is scaled by c_in; biases and norm gains unchanged. Key heads of a
 * grouped-query host are expanded first. The result's patterns equal the host's.
 * Asserts that d_qk_head is the host's d_head and that n_qk_heads is a multiple of its heads.
 */
export function copyHostQK(
  config: LorsaConfig,
  weights: LorsaWeights<F64>,
  host: HostAttention,
  inputFactor: number,
): LorsaWeights<F64> {
  const { head, kv_head, d_model, d_head } = bindAxes({
    W_Q: [host.W_Q, 'head d_model d_head'],
    W_K: [host.W_K, 'kv_head d_model d_head'],
  });
  assert(d_head === config.d_qk_head, () => `d_qk_head ${config.d_qk_head}, the host's ${d_head}`);
  assert(d_model === config.d_model, () => `d_model ${config.d_model}, the host's ${d_model}`);
  assert(
    config.n_qk_heads % head === 0,
    () => `${config.n_qk_heads} shared heads are no multiple of the host's ${head}`,
  );
  const repeats = config.n_qk_heads / head;
  const sharing = head / kv_head;
  const ofQ = (j: number) => Math.floor(j / repeats);
  const ofK = (j: number) => Math.floor(ofQ(j) / sharing);
  const copy = (from: Real | undefined, source: (j: number) => number, into: F64, factor = 1) => {
    if (!from) return into;
    const width = into.data.length / config.n_qk_heads;
    const data = Float64Array.from(
      into.data,
      (_, at) => from.data[source(Math.floor(at / width)) * width + (at % width)] / factor,
    );
    return { ...into, data };
  };
  const gain = (from: Real | undefined, into: F64 | undefined) => into && copy(from, () => 0, into);
  const ln_q = gain(host.q_norm, weights.ln_q);
  const ln_k = gain(host.k_norm, weights.ln_k);
  return {
    ...weights,
    W_Q: copy(host.W_Q, ofQ, weights.W_Q, inputFactor),
    W_K: copy(host.W_K, ofK, weights.W_K, inputFactor),
    b_Q: copy(host.b_Q, ofQ, weights.b_Q),
    b_K: copy(host.b_K, ofK, weights.b_K),
    ...(ln_q ? { ln_q } : {}),
    ...(ln_k ? { ln_k } : {}),
  };
}

/** Level B, step 4: b_D = mean target over valid tokens of `[token, d_model]`, in normalised units. */
export function meanTarget(y: Real, valid: ArrayLike<number | boolean>): F64 {
  const { token, d_model } = bindAxes({ y: [y, 'token d_model'] });
  const data = new Float64Array(d_model);
  let count = 0;
  for (let t = 0; t < token; t++) {
    if (!valid[t]) continue;
    count++;
    for (let d = 0; d < d_model; d++) data[d] += y.data[t * d_model + d];
  }
  assert(count > 0, 'no valid token to average');
  return { dtype: 'f64', shape: [d_model], data: data.map((sum) => sum / count) };
}
