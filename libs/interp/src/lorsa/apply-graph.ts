import { encodeModel, GraphBuilder, inDouble } from '@heddle/onnx';
import type { Tensor } from '@heddle/tensor';
import type { LorsaLayer } from './checkpoint.ts';
import { layerInputs, lorsaGraph, parameterInputs, rotaryFeeds } from './forward-graph.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaParameter, parameterNames, toF32 } from './lorsa-weights.ts';

/** What of a layer's encoding is wanted besides the pre-activations. */
export interface EncodingOutputs {
  /** `pattern` `[batch, qk_head, query_pos, key_pos]`. */
  readonly pattern: boolean;
  /** `values` `[token, ov_head]`: v of the rank-one heads. */
  readonly values: boolean;
}

/**
 * `lorsaEncode` as an ONNX graph in double: `pre` `[token, ov_head]` f64, tokens of all sequences one after the other.
 * Feeds: `x` `[batch, pos, d_model]` in f64, and `encodingFeeds`. In double, because which heads win is decided by these
 * numbers: in single, two heads a rounding error apart at the K-th place would change places.
 */
export function encodedEncoding(config: LorsaConfig, wanted: EncodingOutputs): Uint8Array {
  const g = new GraphBuilder('lorsa_encoding');
  const parameters = parameterInputs(g, config);
  const inputs = layerInputs(g, config);
  // As a constant here, ONNX Runtime would fuse the scale into the product as a float32: the queries bring it along.
  const unscaled = { ...config, attnScale: 1 };
  const { pattern, preActivations } = lorsaGraph(g, unscaled, parameters, inputs);
  g.output('pre', preActivations);
  if (wanted.pattern) g.output('pattern', pattern);
  if (wanted.values) {
    const { W_V, b_V } = parameters;
    if (!W_V || !b_V) throw new TypeError('a layer without values');
    const values = g.add(g.linear(inputs.x, W_V, { transW: true }), b_V);
    g.output('values', g.reshape(values, [-1, config.n_ov_heads]));
  }
  const graph = g.build();
  const read: readonly string[] = [...encodingParameters(config), ...TABLES, 'x'];
  const needed = graph.inputs.filter(({ name }) => read.includes(name));
  const single = encodingParameters(config).filter((name) => !scaledParameters(config).has(name));
  return encodeModel(inDouble({ ...graph, inputs: needed }, single));
}

/** The feeds of `encodedEncoding` beside `x`, for sequences of so many positions. */
export function encodingFeeds(
  { config, weights }: Pick<LorsaLayer, 'config' | 'weights'>,
  positions: number,
): Readonly<Record<string, Tensor>> {
  const scaled = scaledParameters(config);
  const parameters = encodingParameters(config).map((name): [string, Tensor] => {
    const value = weights[name];
    if (!value) throw new TypeError(`the layer lacks ${name}`);
    if (!scaled.has(name)) return [name, value.dtype === 'f32' ? value : toF32(value)];
    const data = Float64Array.from(value.data, (each) => each / config.attnScale);
    return [name, { dtype: 'f64', shape: value.shape, data }];
  });
  return { ...Object.fromEntries(parameters), ...rotaryFeeds(config, positions) };
}

const TABLES = ['rotary_cos', 'rotary_sin'];

/** What the encoding reads; fed in f32, as files store it, and widened inside. */
function encodingParameters(config: LorsaConfig): readonly LorsaParameter[] {
  return parameterNames(config).filter((name) => name !== 'W_O' && name !== 'b_D');
}

/** What carries 1 / attn_scale, fed in f64: with a query norm its gain, before which any scale would be lost. */
function scaledParameters(config: LorsaConfig): ReadonlySet<LorsaParameter> {
  return new Set(config.qkNormEps === undefined ? ['W_Q', 'b_Q'] : ['ln_q']);
}
