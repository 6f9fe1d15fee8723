import { encodeModel, type Graph, GraphBuilder, type Value } from '@heddle/onnx';
import { buildGate } from '../lorsa/forward-graph.ts';
import { SAE_PARAMETERS, type SaeConfig, type SaeParameter, saeShape } from './sae-config.ts';

export type SaeParameterValues = Readonly<Record<SaeParameter, Value>>;

export interface SaeValues {
  /** a, and what competes: a ‖w_dec‖, which wins only where it is positive; `[token, feature]`. */
  readonly pre: Value;
  readonly rank: Value;
  /** 1 where a feature won and is active, `[token, feature]`; no gradient passes through it. */
  readonly active: Value;
  /** f, `[token, feature]`. */
  readonly featureActs: Value;
  /** The winners' indices, strongest first, `[token, feature]` with feature = K. */
  readonly winners: Value;
  /** ŷ, `[token, d_model]`. */
  readonly reconstruction: Value;
}

/** One feed per parameter, under its own name. */
export function saeParameterInputs(g: GraphBuilder, config: SaeConfig): SaeParameterValues {
  const entries = SAE_PARAMETERS.map((name) => {
    return [name, g.input(name, 'f32', saeShape(config, name))] as const;
  });
  return Object.fromEntries(entries) as unknown as SaeParameterValues;
}

/** a of every token, `[token, feature]`, from y `[token, d_model]`. */
function saePreActivations(
  g: GraphBuilder,
  { W_enc, b_enc, b_dec }: SaeParameterValues,
  y: Value,
): Value {
  return g.scope('encode', () => g.add(g.gemm(g.sub(y, b_dec), W_enc), b_enc));
}

/** The forward pass of `saeForward` in a graph; K is the size feed named `topK`. */
export function saeGraph(
  g: GraphBuilder,
  parameters: SaeParameterValues,
  y: Value,
  topK: string,
): SaeValues {
  return g.scope('sae', () => {
    const pre = saePreActivations(g, parameters, y);
    const norms = g.reduceL2(parameters.W_dec, { axes: [1], keepDims: false });
    const rank = g.mul(pre, norms);
    const { active, winners } = buildGate(g, rank, topK);
    const featureActs = g.mul(pre, active);
    const reconstruction = g.add(g.gemm(featureActs, parameters.W_dec), parameters.b_dec);
    return { pre, rank, active, featureActs, winners, reconstruction };
  });
}

/**
 * What an autoencoder makes of activations, few numbers per token.
 *
 *   feeds     y `[batch, pos, d_model]` · every parameter · k i64 `[1]`
 *   outputs   indices i64 `[token, feature]` and values `[token, feature]`, feature = K, strongest first: activations of
 *             the winners, 0 where fewer than K are active · reconstruction `[token, d_model]`
 *
 * Weights that came from a file take y in the host's units.
 */
export function buildSaeActivations(config: SaeConfig): Graph {
  const g = new GraphBuilder('sae_activations');
  const parameters = saeParameterInputs(g, config);
  const y = g.input('y', 'f32', ['batch', 'pos', config.d_model]);
  g.sizeInput('k');
  const forward = saeGraph(g, parameters, g.reshape(y, [-1, config.d_model]), 'k');
  g.output('indices', forward.winners);
  g.output('values', g.gatherElements(forward.featureActs, forward.winners, { axis: 1 }));
  g.output('reconstruction', forward.reconstruction);
  return g.build();
}

export const encodedSaeActivations = (config: SaeConfig): Uint8Array =>
  encodeModel(buildSaeActivations(config));
