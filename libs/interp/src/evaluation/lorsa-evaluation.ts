import { encodeModel, type Graph, GraphBuilder, type Value } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import type { LorsaLayer } from '../lorsa/checkpoint.ts';
import { layerInputs, lorsaGraph, parameterInputs, rotaryFeeds } from '../lorsa/forward-graph.ts';
import type { LorsaConfig } from '../lorsa/lorsa-config.ts';
import { parameterNames, toF32 } from '../lorsa/lorsa-weights.ts';
import { measureGraph, type Reconstructed, targetInputs } from './measures.ts';

type ParameterValues = ReturnType<typeof parameterInputs>;

/** The size feed of the j-th K. */
const kName = (j: number): string => (j === 0 ? 'k' : `k_${j}`);

/**
 * A layer measured at several K on the same pre-activations: the sums of `measureGraph` for each, in the host's units.
 *
 *   feeds     x, y `[batch, pos, d_model]` in the host's units · valid `[batch, pos]` 0/1 · centre `[d_model]` ·
 *             input_factor, output_factor `[batch, pos]`: c_in, c_out of each token · every parameter · rotary_cos,
 *             rotary_sin · k, k_1, … i64 `[1]` (`topk`: active heads per token; `batchtopk`: among all given tokens)
 *   outputs   those of `measureGraph` · reconstruction `[batch, pos, d_model]` in the host's units, at k
 *
 * Every activation function of the published format; only the two topk ones have more than one K.
 */
export function buildLorsaEvaluation(config: LorsaConfig, kCount: number): Graph {
  const g = new GraphBuilder('lorsa_measures');
  const { d_model } = config;
  const parameters = {
    ...parameterInputs(g, config),
    ...(config.activation === 'jumprelu' ? { logThreshold: thresholdInput(g, config) } : {}),
  };
  const inputs = layerInputs(g, config);
  const target = targetInputs(g, d_model);
  const factor = (name: string) => g.unsqueeze(g.input(name, 'f32', ['batch', 'pos']), [2]);
  const x = g.mul(inputs.x, factor('input_factor'));
  const unscale = g.reshape(factor('output_factor'), [-1, 1]); // [token, 1]
  const { preActivations } = lorsaGraph(g, config, parameters, { ...inputs, x });
  const rank = ranking(g, config, parameters, preActivations);
  const { W_O, b_D } = parameters;
  if (!W_O) throw new TypeError('a layer without write rows');
  const reconstructions = Array.from({ length: kCount }, (_, j): Reconstructed => {
    if (j > 0) g.sizeInput(kName(j));
    return g.scope(kName(j), () => {
      const counts = g.reshape(target.valid, [-1, 1]);
      const active = activeHeads(g, config, { rank, parameters, counts }, kName(j));
      const written = g.gemm(g.mul(preActivations, active), W_O);
      const reconstruction = g.div(b_D ? g.add(written, b_D) : written, unscale);
      return { reconstruction, active };
    });
  });
  measureGraph(g, target, reconstructions);
  const own = reconstructions[0].reconstruction;
  g.output('reconstruction', g.reshape(own, ['batch', 'pos', d_model]));
  return g.build();
}

export const encodedLorsaEvaluation = (config: LorsaConfig, kCount: number): Uint8Array =>
  encodeModel(buildLorsaEvaluation(config, kCount));

function thresholdInput(g: GraphBuilder, { n_ov_heads }: LorsaConfig): Value {
  return g.input('logThreshold', 'f32', [n_ov_heads]);
}

/** p = ReLU(z̃ ‖w_o‖), or without the norm, or its size when signed; `[token, ov_head]`. */
function ranking(
  g: GraphBuilder,
  config: LorsaConfig,
  { W_O }: ParameterValues,
  pre: Value,
): Value {
  if (!W_O) throw new TypeError('a layer without write rows');
  return g.scope('ranking', () => {
    const scaled = config.decoderNormInGate
      ? g.mul(pre, g.reduceL2(W_O, { axes: [1], keepDims: false }))
      : pre;
    return config.signed ? g.abs(scaled) : g.relu(scaled);
  });
}

/** 1 on the heads that write, `[token, ov_head]`, as `gate` chooses them; tokens that do not count take part in no batchtopk. */
function activeHeads(
  g: GraphBuilder,
  config: LorsaConfig,
  of: { readonly rank: Value; readonly parameters: ParameterValues; readonly counts: Value },
  k: string,
): Value {
  const { rank, parameters, counts } = of;
  const chosen = (candidates: Value, axis: number) => {
    const { values, indices } = g.topK(candidates, k, { axis });
    const ones = g.cast(g.greater(values, 0), 'f32');
    return g.scatterElements(g.constantOfShape(candidates.shape, 0), indices, ones, { axis });
  };
  switch (config.activation) {
    case 'topk':
      return chosen(rank, 1);
    case 'batchtopk':
      return g.reshape(chosen(g.reshape(g.mul(rank, counts), [-1]), 0), rank.shape);
    case 'relu':
      return g.cast(g.greater(rank, 0), 'f32');
    case 'jumprelu': {
      const { logThreshold } = parameters;
      if (!logThreshold) throw new TypeError('jumprelu without thresholds');
      return g.cast(g.greater(rank, g.exp(logThreshold)), 'f32');
    }
  }
}

/** Whole sequences in the host's units, padded on the right. */
export interface EvaluationBatch {
  /** `[batch, pos, d_model]`. */
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  /** `[batch, pos]`: 0 for padding and special tokens. */
  readonly valid: Tensor<'u8'>;
  /** `[batch]`: tokens without padding. */
  readonly lengths: ArrayLike<number>;
}

/** The feeds that stay from batch to batch: parameters and centre. */
export function evaluationConstants(
  { config, weights }: LorsaLayer,
  centre: ArrayLike<number>,
): Record<string, Tensor> {
  const names = [
    ...parameterNames(config),
    ...(config.activation === 'jumprelu' ? (['logThreshold'] as const) : []),
  ];
  const parameters = names.map((name) => {
    const value = weights[name];
    if (!value) throw new TypeError(`${name} is missing`);
    return [name, value.dtype === 'f32' ? value : toF32(value)] as const;
  });
  return { ...Object.fromEntries(parameters), centre: vector(centre) };
}

/** The feeds of one batch; `topK`: the K's, the layer's own first. */
export function evaluationFeeds(
  layer: LorsaLayer,
  batch: EvaluationBatch,
  topK: readonly number[],
): Record<string, Tensor> {
  const { config } = layer;
  const [, pos = 0] = batch.x.shape;
  const valid = Float32Array.from(batch.valid.data);
  const counted = config.activation === 'batchtopk' ? valid.reduce((a, b) => a + b, 0) : 1;
  const ks = topK.map((k, j) => {
    return [kName(j), tensor('i64', [1], BigInt64Array.of(BigInt(k * counted)))] as const;
  });
  const tables = Object.entries(rotaryFeeds(config, pos)).map(([name, t]) => [name, toF32(t)]);
  return {
    x: batch.x,
    y: batch.y,
    valid: tensor('f32', batch.valid.shape, valid),
    input_factor: tokenFactors(layer, batch, 'input'),
    output_factor: tokenFactors(layer, batch, 'output'),
    ...Object.fromEntries(tables),
    ...Object.fromEntries(ks),
  };
}

/**
 * What x or y of each token is multiplied by, `[batch, pos]`: √d_model over the norm that the normalisation looks at
 * (methods 1.4); padding takes part in no mean. A vector of zeros stays zeros.
 */
function tokenFactors(
  { config, normalisation, norms }: LorsaLayer,
  { x, y, lengths }: EvaluationBatch,
  side: 'input' | 'output',
): Tensor<'f32'> {
  const [batch = 0, pos = 0] = x.shape;
  const { d_model } = config;
  const root = Math.sqrt(d_model);
  const rows = side === 'input' ? x.data : y.data;
  const norm = (token: number) => {
    let square = 0;
    for (let d = 0; d < d_model; d++) square += rows[token * d_model + d] ** 2;
    return Math.sqrt(square);
  };
  const meanOf = (b: number) => {
    let sum = 0;
    for (let t = 0; t < lengths[b]; t++) sum += norm(b * pos + t);
    return sum / lengths[b];
  };
  const scale = (size: number) => (size > 0 ? root / size : 1);
  const means =
    normalisation === 'batch-wise' ? Array.from({ length: batch }, (_, b) => meanOf(b)) : [];
  const data = Float32Array.from({ length: batch * pos }, (_, token) => {
    switch (normalisation) {
      case 'inference':
        return 1;
      case 'dataset-wise':
        if (!norms) throw new TypeError('a dataset-wise layer without norms');
        return root / norms[side];
      case 'token-wise':
        return scale(norm(token));
      case 'batch-wise':
        return scale(means[Math.floor(token / pos)]);
    }
  });
  return tensor('f32', [batch, pos], data);
}

const vector = (values: ArrayLike<number>): Tensor<'f32'> =>
  tensor('f32', [values.length], Float32Array.from(values));
