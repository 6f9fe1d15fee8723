import type { GraphBuilder, Value } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { groupSize, type LorsaConfig } from './lorsa-config.ts';
import { parameterNames, parameterShape } from './lorsa-weights.ts';
import { buildHeads, causalMask, type ParameterValues, required } from './projection-graph.ts';
import { rotaryTable } from './rotary.ts';

/** What the layer reads beside its parameters. */
export interface LorsaInputs {
  /** `[batch, pos, d_model]`, normalised. */
  readonly x: Value;
  /** Cosines and sines `[pos, d_head]` (1 and 0 past the rotary dims); absent without rotary. */
  readonly cos: Value | undefined;
  readonly sin: Value | undefined;
  /** Name of the size input that K is fed through. */
  readonly topK: string;
}

export interface LorsaValues {
  /** `[batch, qk_head, query_pos, key_pos]`. */
  readonly pattern: Value;
  /** z̃, `[token, ov_head]`, tokens of all sequences one after the other. */
  readonly preActivations: Value;
  /** What heads compete by: z̃ ‖w_o‖, `[token, ov_head]`; a head whose rank is not positive is never active. */
  readonly rank: Value;
  /** 1 where a head won and is active, `[token, ov_head]`; no gradient passes through it. */
  readonly active: Value;
  /** Indices of the K winners, active or not, `[token, feature]` with feature = K. */
  readonly winners: Value;
  /** z, `[token, ov_head]`. */
  readonly featureActs: Value;
  /** ŷ, `[token, d_model]`. */
  readonly reconstruction: Value;
}

/** One feed per parameter, under its own name. */
export function parameterInputs(g: GraphBuilder, config: LorsaConfig): ParameterValues {
  return Object.fromEntries(
    parameterNames(config).map((name) => [
      name,
      g.input(name, 'f32', parameterShape(config, name)),
    ]),
  );
}

/** x, the rotary tables (where needed) and K as feeds `x`, `rotary_cos`, `rotary_sin`, `k`. */
export function layerInputs(g: GraphBuilder, config: LorsaConfig): LorsaInputs {
  const x = g.input('x', 'f32', ['batch', 'pos', config.d_model]);
  const table = (name: string) =>
    config.rotary ? g.input(name, 'f32', ['pos', config.d_qk_head]) : undefined;
  g.sizeInput('k');
  return { x, cos: table('rotary_cos'), sin: table('rotary_sin'), topK: 'k' };
}

/**
 * Lorsa's forward pass in a graph, as `lorsaForward` defines it, `topk` activations. Every head's activation comes from
 * n_qk_heads attentions with G-wide values; nothing of size ov_head · query_pos · key_pos exists.
 */
export function lorsaGraph(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  inputs: LorsaInputs,
): LorsaValues {
  return g.scope('lorsa', () => {
    const pattern = buildPattern(g, config, parameters, inputs);
    const preActivations = buildPreActivations(g, config, parameters, inputs.x, pattern);
    const rank = buildRank(g, config, parameters, preActivations);
    const { active, winners } = buildGate(g, rank, inputs.topK);
    const featureActs = g.mul(preActivations, active);
    const written = g.gemm(featureActs, required(parameters, 'W_O'));
    const { b_D } = parameters;
    const reconstruction = b_D ? g.add(written, b_D) : written;
    return { pattern, preActivations, rank, active, winners, featureActs, reconstruction };
  });
}

/** softmax(mask(q kᵀ / attn_scale)), `[batch, qk_head, query_pos, key_pos]`. */
function buildPattern(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  inputs: LorsaInputs,
): Value {
  const q = g.scope('q', () => buildHeads(g, config, parameters, { ...inputs, side: 'q' }));
  const k = g.scope('k', () => buildHeads(g, config, parameters, { ...inputs, side: 'k' }));
  return g.scope('pattern', () => {
    // A factor right after the product: ONNX Runtime makes one FusedMatMul of both.
    const scores = g.mul(g.matMul(q, g.transpose(k, [0, 1, 3, 2])), 1 / config.attnScale);
    return g.softmax(g.add(scores, causalMask(g, 'pos', 'pos')));
  });
}

/** z̃ = A v, `[token, ov_head]`. */
function buildPreActivations(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  x: Value,
  pattern: Value,
): Value {
  return g.scope('pre', () => {
    const { n_qk_heads, n_ov_heads } = config;
    const read = g.linear(x, required(parameters, 'W_V'), { transW: true });
    const values = g.add(read, required(parameters, 'b_V'));
    const split = ['batch', 'pos', n_qk_heads, groupSize(config)];
    const grouped = g.transpose(g.reshape(values, split), [0, 2, 1, 3]);
    const mixed = g.transpose(g.matMul(pattern, grouped), [0, 2, 1, 3]);
    return g.reshape(mixed, [-1, n_ov_heads]);
  });
}

/** What a gate chose. */
interface Chosen {
  /** 1 where a head was chosen and is active. */
  readonly active: Value;
  readonly winners: Value;
}

/** p = z̃ ‖w_o‖ (|z̃| ‖w_o‖ when signed), `[token, ov_head]`: positive where a head may be active. */
function buildRank(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  preActivations: Value,
): Value {
  return g.scope('rank', () => {
    const norms = g.reduceL2(required(parameters, 'W_O'), { axes: [1], keepDims: false });
    const scaled = config.decoderNormInGate ? g.mul(preActivations, norms) : preActivations;
    return config.signed ? g.abs(scaled) : scaled;
  });
}

/**
 * The K largest ranks of each token, value descending, index ascending. Without a ReLU before them: it would only turn what
 * is not positive, and so never active, into ties.
 */
export function buildGate(g: GraphBuilder, rank: Value, topK: string): Chosen {
  return g.scope('gate', () => {
    const { values, indices } = g.topK(rank, topK);
    const none = g.constantOfShape(rank.shape, 0);
    const ones = g.cast(g.greater(values, 0), 'f32');
    return { active: g.scatterElements(none, indices, ones, { axis: 1 }), winners: indices };
  });
}

/** Rotary tables as feeds, fp64, padded with angle zero to the whole head: `[pos, d_head]`; empty without rotary. */
export function rotaryFeeds(
  config: LorsaConfig,
  positions: number,
): Readonly<Record<string, Tensor<'f64'>>> {
  const { rotary, d_qk_head } = config;
  if (!rotary) return {};
  const table = rotaryTable(rotary, positions);
  const padded = (values: Float64Array, past: number) =>
    tensor(
      'f64',
      [positions, d_qk_head],
      Float64Array.from({ length: positions * d_qk_head }, (_, at) => {
        const c = at % d_qk_head;
        return c < rotary.dim ? values[Math.floor(at / d_qk_head) * rotary.dim + c] : past;
      }),
    );
  return { rotary_cos: padded(table.cos, 1), rotary_sin: padded(table.sin, 0) };
}
