import { encodeModel, type Graph, GraphBuilder, type Value, vjp } from '@heddle/onnx';
import { optimiserGraph, type Trained } from '../lorsa/adam.ts';
import { AUX, auxiliaryGraph, silenceGraph } from '../lorsa/auxiliary-graph.ts';
import { stateFeeds } from '../lorsa/state-feeds.ts';
import { SAE_PARAMETERS, type SaeConfig, type SaeWeights, saeShape } from './sae-config.ts';
import { type SaeParameterValues, saeGraph, saeParameterInputs } from './sae-graph.ts';

/** Every feed that is carried from step to step. */
export const SAE_STATE: readonly string[] = SAE_PARAMETERS.flatMap((name) =>
  Object.values(stateFeeds(name)),
);

export const saeStateShape = (config: SaeConfig, feed: string): readonly number[] =>
  saeShape(config, feed.slice(feed.indexOf('.') + 1) as keyof SaeWeights);

export interface SaeStepOptions {
  /** Also outputs `gradient.NAME` of every parameter, before clipping: for tests and comparisons. */
  readonly withGradients?: boolean;
  /** With AuxK: more feeds and outputs, see `auxiliaryGraph` of Lorsa. */
  readonly auxiliary?: boolean;
}

/**
 * One training step: forward, loss, gradients by autodiff, global-norm clipping, Adam.
 *
 *   feeds     y `[batch, pos, d_model]` (normalised) · valid `[batch, pos]` 0/1 · k i64 `[1]` · every parameter with
 *             adam_m.*, adam_v.* · learning_rate, beta1, beta2, epsilon, correction1, correction2, clip_norm
 *   outputs   next.* of every state feed · loss (mean squared error per valid token) · tokens, error_sum, square_sum,
 *             total `[d_model]`, active_sum · fired `[feature]`: tokens on which it was active · gradient_norm (before clipping)
 */
export function buildSaeStep(config: SaeConfig, options: SaeStepOptions = {}): Graph {
  const g = new GraphBuilder('sae_train_step');
  const parameters = saeParameterInputs(g, config);
  const forward = buildForward(g, config, parameters);
  const aux = options.auxiliary ? buildAuxiliary(g, config, parameters, forward) : undefined;
  g.output('loss', aux ? g.add(forward.loss, aux.loss) : forward.loss);
  // Cotangents by hand, so that the error which AuxK explains is a constant to autodiff.
  const outputs = [forward.reconstruction, ...(aux ? [aux.reconstruction] : [])];
  const cotangents = [forward.cotangent, ...(aux ? [aux.cotangent] : [])];
  const wrt = SAE_PARAMETERS.map((name) => parameters[name]);
  const slopes = g.scope('backward', () => vjp(g, outputs, cotangents, wrt));
  const trained = SAE_PARAMETERS.map((name, i): Trained => {
    return { name, value: wrt[i], shape: saeShape(config, name), slope: slopes[i] };
  });
  optimiserGraph(g, trained, options.withGradients ?? false);
  return g.build();
}

/** AuxK as a Lorsa layer has it, features for heads; the decoder's bias takes no part. */
function buildAuxiliary(
  g: GraphBuilder,
  { d_sae }: SaeConfig,
  { W_dec }: SaeParameterValues,
  { pre, rank, error, weight, fired, tokens }: ForwardValues,
) {
  const { dead } = silenceGraph(g, { n_ov_heads: d_sae }, { fired, tokens });
  const aux = auxiliaryGraph(g, { preActivations: pre, rank }, { error, weight, dead, W_O: W_dec });
  g.output(AUX.loss, aux.loss);
  return aux;
}

/** What the forward pass hands on. */
type ForwardValues = ReturnType<typeof saeGraph> &
  Readonly<Record<'loss' | 'error' | 'weight' | 'tokens' | 'fired' | 'cotangent', Value>>;

/** Forward pass, and the sums that `figures` reads as outputs. */
function buildForward(
  g: GraphBuilder,
  config: SaeConfig,
  parameters: SaeParameterValues,
): ForwardValues {
  const { d_model } = config;
  const y = g.reshape(g.input('y', 'f32', ['batch', 'pos', d_model]), [-1, d_model]);
  const valid = g.reshape(g.input('valid', 'f32', ['batch', 'pos']), [-1, 1]); // [token, 1]
  g.sizeInput('k');
  const forward = saeGraph(g, parameters, y, 'k');
  return g.scope('loss', () => {
    const error = g.sub(forward.reconstruction, y);
    const tokens = g.reduceSum(valid, { keepDims: false });
    const weight = g.div(valid, tokens);
    const errorSum = g.reduceSum(g.mul(g.mul(error, error), valid), { keepDims: false });
    const weighted = g.mul(y, valid);
    const fired = g.reduceSum(g.mul(forward.active, valid), { axes: [0], keepDims: false });
    g.output('tokens', tokens);
    g.output('error_sum', errorSum);
    g.output('square_sum', g.reduceSum(g.mul(weighted, y), { keepDims: false }));
    g.output('total', g.reduceSum(weighted, { axes: [0], keepDims: false }));
    g.output('active_sum', g.reduceSum(fired, { keepDims: false }));
    g.output('fired', fired);
    const loss = g.div(errorSum, tokens);
    const cotangent = g.mul(g.mul(error, weight), 2);
    return { ...forward, loss, error, weight, tokens, fired, cotangent };
  });
}

/** The step's forward pass alone: its feeds without the optimiser's; its sums, and reconstruction `[token, d_model]`. */
export function buildSaeLoss(config: SaeConfig): Graph {
  const g = new GraphBuilder('sae_loss');
  const { loss, reconstruction } = buildForward(g, config, saeParameterInputs(g, config));
  g.output('loss', loss);
  g.output('reconstruction', reconstruction);
  return g.build();
}

export const encodedSaeStep = (config: SaeConfig, options?: SaeStepOptions): Uint8Array =>
  encodeModel(buildSaeStep(config, options));
export const encodedSaeLoss = (config: SaeConfig): Uint8Array => encodeModel(buildSaeLoss(config));
