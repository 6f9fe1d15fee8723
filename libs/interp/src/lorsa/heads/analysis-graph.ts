import { unimplemented } from '@heddle/core';
import { encodeModel, type Graph, GraphBuilder, type Value } from '@heddle/onnx';
import { bindAxes, type Tensor, tensor } from '@heddle/tensor';
import { layerInputs, lorsaGraph, parameterInputs, rotaryFeeds } from '../forward-graph.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import { type LorsaWeights, parameterNames, toF32 } from '../lorsa-weights.ts';
import type { HeadSequence } from './head-sequence.ts';
import { ACTIVE_MAX } from './limits.ts';

/**
 * *Everything that looking at heads needs, in one pass.*
 *
 *   feeds     x `[batch, pos, d_model]` · every parameter · rotary_cos, rotary_sin · k i64 `[1]` · threshold `[ov_head]` with jumprelu
 *   outputs   pattern `[batch, qk_head, query_pos, key_pos]` · values `[batch, pos, ov_head]` (v with b_V) · winners i32 and
 *             acts `[token, feature]` with feature = k, strongest first, acts 0 where a winner is not active
 *
 * Errors: `unimplemented` for `batchtopk`, whose winners depend on who else is in the batch.
 */
export function buildAnalysis(config: LorsaConfig): Graph {
  if (config.activation === 'batchtopk') {
    throw unimplemented(
      'batchtopk chooses among all tokens of a batch: no head has an activation of its own to look at',
    );
  }
  const g = new GraphBuilder('lorsa_analysis');
  const parameters = parameterInputs(g, config);
  const inputs = layerInputs(g, config);
  const W_V = parameters.W_V as Value;
  const W_O = parameters.W_O as Value;
  const { pattern, preActivations } = lorsaGraph(g, config, parameters, inputs);
  const values = g.add(g.linear(inputs.x, W_V, { transW: true }), parameters.b_V as Value);
  const { winners, acts } = g.scope('winners', () => {
    const norms = g.reduceL2(W_O, { axes: [1], keepDims: false });
    const scaled = config.decoderNormInGate ? g.mul(preActivations, norms) : preActivations;
    const rank = config.signed ? g.abs(scaled) : g.relu(scaled);
    const open =
      config.activation === 'jumprelu'
        ? g.where(g.greater(rank, g.input('threshold', 'f32', [config.n_ov_heads])), rank, 0)
        : rank;
    const top = g.topK(open, inputs.topK);
    const active = g.cast(g.greater(top.values, 0), 'f32');
    const kept = g.gatherElements(preActivations, top.indices, { axis: 1 });
    return { winners: g.cast(top.indices, 'i32'), acts: g.mul(kept, active) };
  });
  g.output('pattern', pattern);
  g.output('values', values);
  g.output('winners', winners);
  g.output('acts', acts);
  return g.build();
}

export const encodedAnalysis = (config: LorsaConfig): Uint8Array =>
  encodeModel(buildAnalysis(config));

/** Winners per token: K, or for activations without one as many as are looked at before it is refused. */
export function analysisSlots(config: LorsaConfig): number {
  return config.activation === 'topk' ? config.topK : Math.min(ACTIVE_MAX, config.n_ov_heads);
}

/** Every feed of the graph: x `[batch, pos, d_model]` as the weights expect it. */
export function analysisFeeds(
  config: LorsaConfig,
  weights: LorsaWeights,
  x: Tensor<'f32'>,
): Readonly<Record<string, Tensor>> {
  const { pos } = bindAxes({ x: [x, 'batch pos d_model'] });
  const tables = Object.entries(rotaryFeeds(config, pos)).map(([name, t]) => [name, toF32(t)]);
  const threshold = weights.logThreshold && {
    threshold: toF32({
      dtype: 'f64',
      shape: [config.n_ov_heads],
      data: Float64Array.from(weights.logThreshold.data, Math.exp),
    }),
  };
  return {
    x,
    k: tensor('i64', [1], BigInt64Array.of(BigInt(analysisSlots(config)))),
    ...Object.fromEntries(
      parameterNames(config).map((name) => [name, toF32(weights[name] as Tensor<'f32'>)]),
    ),
    ...Object.fromEntries(tables),
    ...(config.activation === 'jumprelu' ? threshold : {}),
  };
}

/** The text of a batch beside what the graph made of it. */
export interface AnalysedText {
  /** Ids `[batch, pos]`, padded on the right. */
  readonly tokens: ArrayLike<number | bigint>;
  /** `[batch, pos]`. */
  readonly valid: ArrayLike<number | boolean>;
  /** Tokens of each sequence without padding. */
  readonly lengths: ArrayLike<number>;
  /** Index of the first sequence in the text; the others follow. */
  readonly firstIndex: number;
}

/**
 * Cuts a batch into its sequences (views, no copies). Errors: `unimplemented` when a token of a layer without K is
 * active on every slot, because then some were left out.
 */
export function headSequences(
  config: LorsaConfig,
  outputs: Readonly<Record<string, Tensor>>,
  text: AnalysedText,
): HeadSequence[] {
  const { n_qk_heads, n_ov_heads } = config;
  const { pattern, values, winners, acts } = outputs as Readonly<
    Record<'pattern' | 'values' | 'winners' | 'acts', Tensor<'f32'>>
  >;
  const { batch, pos } = bindAxes({
    pattern: [{ shape: [pattern.shape[0], pattern.shape[2]] }, 'batch pos'],
    values: [values, 'batch pos ov_head'],
  });
  const slots = acts.shape[1];
  return Array.from({ length: batch }, (_, b) => {
    const length = text.lengths[b];
    const part = (data: Float32Array, stride: number, count: number) =>
      data.subarray(b * stride, b * stride + count);
    const sequence: HeadSequence = {
      index: text.firstIndex + b,
      tokens: Int32Array.from({ length }, (_, t) => Number(text.tokens[b * pos + t])),
      valid: Uint8Array.from({ length }, (_, t) => (text.valid[b * pos + t] ? 1 : 0)),
      slots,
      winners: part(winners.data, pos * slots, length * slots),
      acts: part(acts.data, pos * slots, length * slots),
      attention: {
        pattern: part(pattern.data, n_qk_heads * pos * pos, n_qk_heads * pos * pos),
        values: part(values.data, pos * n_ov_heads, length * n_ov_heads),
        pos,
        qkHeads: n_qk_heads,
        ovHeads: n_ov_heads,
      },
    };
    if (config.activation !== 'topk' && slots < n_ov_heads) refuseFull(sequence);
    return sequence;
  });
}

function refuseFull({ acts, slots, tokens }: HeadSequence): void {
  for (let t = 0; t < tokens.length; t++) {
    if (acts[(t + 1) * slots - 1] === 0) continue;
    throw unimplemented(
      `a token has more than ${slots} active heads; looking at that many is not built`,
      {
        details: { limit: slots },
      },
    );
  }
}
