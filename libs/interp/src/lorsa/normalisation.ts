import { assert } from '@heddle/core';
import { bindAxes, type Tensor } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import { decoderNorms, type LorsaWeights, mapWeights, type Real, toF64 } from './lorsa-weights.ts';

/** Mean norms of a layer's input and target over valid tokens ("dataset-wise" normalisation). */
export interface MeanNorms {
  readonly input: number;
  readonly output: number;
}

/** What x and y are multiplied by before training: c = √d_model / mean norm. */
export interface ScaleFactors {
  readonly input: number;
  readonly output: number;
}

/** Mean of ‖row‖ over valid rows of `[token, d_model]`. */
export function meanNorm(rows: Real, valid: ArrayLike<number | boolean>): number {
  const { token, d_model } = bindAxes({ rows: [rows, 'token d_model'] });
  let sum = 0;
  let count = 0;
  for (let t = 0; t < token; t++) {
    if (!valid[t]) continue;
    let square = 0;
    for (let d = 0; d < d_model; d++) square += rows.data[t * d_model + d] ** 2;
    sum += Math.sqrt(square);
    count++;
  }
  assert(count > 0, 'no valid token to measure a norm on');
  return sum / count;
}

/** Typical vectors get norm √d_model, so about unit variance per coordinate. */
export function scaleFactors(d_model: number, norms: MeanNorms): ScaleFactors {
  assert(norms.input > 0, 'the input is zero everywhere');
  assert(norms.output > 0, 'the target is zero everywhere');
  return { input: Math.sqrt(d_model) / norms.input, output: Math.sqrt(d_model) / norms.output };
}

function scaled(t: Real, factor: number): Tensor<'f64'> {
  return { ...t, dtype: 'f64', data: Float64Array.from(t.data, (value) => value * factor) };
}

/**
 * Weights for raw activations from weights for normalised ones: W_Q, W_K, W_V · c_in and W_O, b_D / c_out; the biases of
 * q, k and v stay. The folded layer on x equals the normalised layer on c_in x, divided by c_out.
 */
export function foldNormalisation(
  weights: LorsaWeights,
  { input, output }: ScaleFactors,
): LorsaWeights<Tensor<'f64'>> {
  return mapWeights(weights, (t, name) => {
    if (name === 'W_Q' || name === 'W_K' || name === 'W_V') return scaled(t, input);
    if (name === 'W_O' || name === 'b_D') return scaled(t, 1 / output);
    return toF64(t);
  });
}

/**
 * `foldNormalisation` of a layer whose gate may compare with thresholds: what is compared is z̃ ‖w_o‖, and the rows of W_O
 * become c_out times shorter, so jumprelu's thresholds do too. (The published description leaves them; the folded layer
 * would then be another one.) TopK only ranks, and does not see a common factor.
 */
export function foldLayerNormalisation(
  config: LorsaConfig,
  weights: LorsaWeights,
  factors: ScaleFactors,
): LorsaWeights<Tensor<'f64'>> {
  const folded = foldNormalisation(weights, factors);
  const { logThreshold } = folded;
  if (!logThreshold || !config.decoderNormInGate) return folded;
  const shift = Math.log(factors.output);
  const data = logThreshold.data.map((value) => value - shift);
  return { ...folded, logThreshold: { ...logThreshold, data } };
}

/**
 * Same layer with unit write rows: w_v, b_V · ‖w_o‖ and w_o / ‖w_o‖, so that z is in units of what is written. Holds
 * exactly only when the gate includes the decoder norm. A head that writes nothing keeps its rows.
 */
export function foldDecoderNorms(
  config: LorsaConfig,
  weights: LorsaWeights,
): LorsaWeights<Tensor<'f64'>> {
  assert(
    config.decoderNormInGate,
    'without the decoder norm in the gate, folding it changes who wins',
  );
  const norms = decoderNorms(weights).map((norm) => (norm > 0 ? norm : 1));
  const { d_model } = config;
  return mapWeights(weights, (t, name) => {
    const by = (factor: (at: number) => number): Tensor<'f64'> => ({
      ...t,
      dtype: 'f64',
      data: Float64Array.from(t.data, (value, at) => value * factor(at)),
    });
    if (name === 'W_V') return by((at) => norms[Math.floor(at / d_model)]);
    if (name === 'W_O') return by((at) => 1 / norms[Math.floor(at / d_model)]);
    if (name === 'b_V') return by((at) => norms[at]);
    return toF64(t);
  });
}
