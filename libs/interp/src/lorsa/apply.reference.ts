import { assert, invalidArgument } from '@heddle/core';
import { bindAxes, type Tensor } from '@heddle/tensor';
import type { LorsaLayer } from './checkpoint.ts';
import { lorsaDecode, lorsaEncode } from './forward.reference.ts';
import { gate } from './gate.ts';
import { groupSize } from './lorsa-config.ts';
import { decoderNorms, type Real } from './lorsa-weights.ts';

export interface LorsaApplied {
  /** z, `[batch, pos, ov_head]`, in the units of the (normalised) weights, as the checkpoint's own tools report it. */
  readonly featureActs: Tensor<'f64'>;
  /** ŷ in the units of the host, `[batch, pos, d_model]`. */
  readonly reconstruction: Tensor<'f64'>;
  /** Attention of the shared heads, `[batch, qk_head, query_pos, key_pos]`. */
  readonly pattern: Tensor<'f64'>;
  /** v of the rank-one heads, `[batch, pos, ov_head]`: z-patterns are pattern times this. */
  readonly values: Tensor<'f64'>;
}

/**
 * A layer on given activations, fp64: normalise, forward, back to the host's units. Every variant of the published
 * format: `token-wise` scales each row to norm √d_model, `batch-wise` each sequence by its mean norm, `dataset-wise` by
 * the stored norms, `inference` not at all; the target's scale is undone on the output, so that the first two need `y`.
 *
 *   x, y   [batch, pos, d_model]
 *
 * Errors: `invalid_argument` when the normalisation needs a target and none is given.
 */
export function applyLorsa(layer: LorsaLayer, x: Real, y?: Real): LorsaApplied {
  const { config, weights } = layer;
  const { batch, pos } = bindAxes({
    x: [x, 'batch pos d_model'],
    config: [{ shape: [config.d_model] }, 'd_model'],
  });
  const factors = applyFactors(layer, x, y);
  const { d_model, n_ov_heads, n_qk_heads } = config;
  const pattern = new Float64Array(batch * n_qk_heads * pos * pos);
  const values = new Float64Array(batch * pos * n_ov_heads);
  const pre = new Float64Array(batch * pos * n_ov_heads);
  for (let b = 0; b < batch; b++) {
    const rows = Float64Array.from({ length: pos * d_model }, (_, at) => {
      return x.data[b * pos * d_model + at] * factors.input[b * pos + Math.floor(at / d_model)];
    });
    const one = lorsaEncode(config, weights, { dtype: 'f64', shape: [pos, d_model], data: rows });
    pattern.set(one.pattern.data, b * one.pattern.data.length);
    values.set(one.values.data, b * one.values.data.length);
    pre.set(one.preActivations.data, b * one.preActivations.data.length);
  }
  const { z, reconstruction } = applyGate(layer, pre, factors.output);
  return {
    featureActs: { dtype: 'f64', shape: [batch, pos, n_ov_heads], data: z },
    reconstruction: { dtype: 'f64', shape: [batch, pos, d_model], data: reconstruction },
    pattern: { dtype: 'f64', shape: [batch, n_qk_heads, pos, pos], data: pattern },
    values: { dtype: 'f64', shape: [batch, pos, n_ov_heads], data: values },
  };
}

/**
 * What x is multiplied by before the forward pass and y divided by after it, one factor per token. Errors:
 * `invalid_argument` when the normalisation needs a target and none is given.
 */
export function applyFactors(
  layer: LorsaLayer,
  x: Real,
  y?: Real,
): { readonly input: Float64Array; readonly output: Float64Array } {
  const { normalisation } = layer;
  if ((normalisation === 'token-wise' || normalisation === 'batch-wise') && !y) {
    throw invalidArgument(`the checkpoint's ${normalisation} normalisation needs the target`, {
      field: 'target',
    });
  }
  if (y) bindAxes({ x: [x, 'batch pos d_model'], y: [y, 'batch pos d_model'] });
  return { input: rowFactors(layer, x, 'input'), output: rowFactors(layer, y ?? x, 'output') };
}

/**
 * From pre-activations `[token, ov_head]` to z and to ŷ `[token, d_model]` in the host's units. Row by row, except that
 * `batchtopk` chooses among all rows given.
 */
export function applyGate(
  { config, weights }: Pick<LorsaLayer, 'config' | 'weights'>,
  pre: Float64Array,
  outputFactors: Float64Array,
): { readonly z: Float64Array; readonly reconstruction: Float64Array } {
  const { d_model, n_ov_heads } = config;
  const thresholds = weights.logThreshold && Float64Array.from(weights.logThreshold.data, Math.exp);
  const z = gate(config, { decoderNorms: decoderNorms(weights), thresholds }, pre);
  const token = pre.length / n_ov_heads;
  const decoded = lorsaDecode(weights, { dtype: 'f64', shape: [token, n_ov_heads], data: z });
  const reconstruction = decoded.data.map((value, at) => {
    return value / outputFactors[Math.floor(at / d_model)];
  });
  return { z, reconstruction };
}

/** Every head's z-pattern, `[batch, ov_head, query_pos, key_pos]`: A^{h(i)}(t, s) v_s. */
export function zPatterns(
  layer: LorsaLayer,
  { pattern, values }: Pick<LorsaApplied, 'pattern' | 'values'>,
): Tensor<'f64'> {
  const { n_ov_heads, n_qk_heads } = layer.config;
  const { batch, pos } = bindAxes({ values: [values, 'batch pos ov_head'] });
  const group = groupSize(layer.config);
  const data = new Float64Array(batch * n_ov_heads * pos * pos);
  let at = 0;
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < n_ov_heads; i++) {
      const head = (b * n_qk_heads + Math.floor(i / group)) * pos * pos;
      for (let t = 0; t < pos; t++) {
        for (let s = 0; s < pos; s++) {
          const value = values.data[(b * pos + s) * n_ov_heads + i];
          data[at++] = pattern.data[head + t * pos + s] * value;
        }
      }
    }
  }
  return { dtype: 'f64', shape: [batch, n_ov_heads, pos, pos], data };
}

/** √d_model over the norm that this normalisation looks at, one factor per token. */
function rowFactors(layer: LorsaLayer, rows: Real, side: 'input' | 'output'): Float64Array {
  const [batch, pos, d_model] = rows.shape as readonly [number, number, number];
  const root = Math.sqrt(d_model);
  const norm = (token: number) => {
    let square = 0;
    for (let d = 0; d < d_model; d++) square += rows.data[token * d_model + d] ** 2;
    return Math.sqrt(square);
  };
  const tokens = { length: batch * pos };
  switch (layer.normalisation) {
    case 'inference':
      return new Float64Array(batch * pos).fill(1);
    case 'dataset-wise':
      assert(layer.norms, 'a dataset-wise layer carries its norms');
      return new Float64Array(batch * pos).fill(root / layer.norms[side]);
    case 'token-wise':
      return Float64Array.from(tokens, (_, token) => root / norm(token));
    case 'batch-wise': {
      const mean = (b: number) =>
        Array.from({ length: pos }, (_, t) => norm(b * pos + t)).reduce((a, c) => a + c, 0) / pos;
      const means = Array.from({ length: batch }, (_, b) => mean(b));
      return Float64Array.from(tokens, (_, token) => root / means[Math.floor(token / pos)]);
    }
  }
}
