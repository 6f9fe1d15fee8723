import { encodeModel, type Graph, GraphBuilder, type Value, vjp } from '@heddle/onnx';

import { type Tensor, tensor } from '@heddle/tensor';
import { type AdamConfig, adamCorrections, optimiserGraph, type Trained } from './adam.ts';
import { AUX, auxiliaryGraph, silenceGraph } from './auxiliary-graph.ts';
import { type LorsaValues, layerInputs, lorsaGraph, parameterInputs } from './forward-graph.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { parameterNames, parameterShape } from './lorsa-weights.ts';
import { required } from './projection-graph.ts';

export interface StepGraphOptions {
  /** Also outputs `gradient.NAME` of every parameter, before clipping: for tests and comparisons. */
  readonly withGradients?: boolean;
  /** With AuxK: more feeds and outputs, see `auxiliaryGraph`. */
  readonly auxiliary?: boolean;
}

/**
 * One training step as a graph: forward, loss, gradients by autodiff, global-norm clipping, Adam.
 *
 *   feeds     x, y `[batch, pos, d_model]` (normalised) · valid `[batch, pos]` 0/1 · k i64 `[1]` · rotary_cos, rotary_sin ·
 *             every parameter with adam_m.*, adam_v.* · learning_rate, beta1, beta2, epsilon, correction1, correction2, clip_norm
 *   outputs   next.* of every state feed · loss (mean squared error per valid token, plus AuxK's part) · tokens, error_sum,
 *             square_sum, total `[d_model]`, active_sum (see `LorsaSums`) · fired `[ov_head]`: tokens on which a head was
 *             active · winners i64 `[token, feature]` · gradient_norm (before clipping)
 */
export function buildTrainStep(config: LorsaConfig, options: StepGraphOptions = {}): Graph {
  const g = new GraphBuilder('lorsa_train_step');
  const parameters = parameterInputs(g, config);
  const inputs = layerInputs(g, config);
  const y = g.input('y', 'f32', ['batch', 'pos', config.d_model]);
  const valid = g.input('valid', 'f32', ['batch', 'pos']);

  const forward = lorsaGraph(g, config, parameters, inputs);
  const main = buildLoss(g, config, forward, { y, valid });
  const silent = options.auxiliary ? silenceGraph(g, config, main) : undefined;
  const aux =
    silent &&
    auxiliaryGraph(g, forward, { ...main, dead: silent.dead, W_O: required(parameters, 'W_O') });

  // Cotangents by hand, so that the error which AuxK explains is a constant to autodiff.
  const outputs = [forward.reconstruction, ...(aux ? [aux.reconstruction] : [])];
  const cotangents = [main.cotangent, ...(aux ? [aux.cotangent] : [])];
  const names = parameterNames(config);
  const wrt = names.map((name) => required(parameters, name));
  const slopes = g.scope('backward', () => vjp(g, outputs, cotangents, wrt));
  const trained = names.map((name, i): Trained => {
    return { name, value: wrt[i], shape: parameterShape(config, name), slope: slopes[i] };
  });
  optimiserGraph(g, trained, options.withGradients ?? false);

  g.output('loss', aux ? g.add(main.loss, aux.loss) : main.loss);
  if (aux) g.output(AUX.loss, aux.loss);
  g.output('winners', forward.winners);
  return g.build();
}

/** What the loss hands on. */
export interface LossValues {
  /** Mean squared error per valid token, a scalar. */
  readonly loss: Value;
  /** ŷ − y, `[token, d_model]`. */
  readonly error: Value;
  /** Valid tokens, a scalar; 1/tokens on valid ones and 0 elsewhere, `[token, 1]`. */
  readonly tokens: Value;
  readonly weight: Value;
  /** d loss / dŷ = 2 weight (ŷ − y). */
  readonly cotangent: Value;
  /** `[ov_head]`. */
  readonly fired: Value;
}

/** The loss, and the sums of `LorsaSums` as outputs. */
function buildLoss(
  g: GraphBuilder,
  config: LorsaConfig,
  forward: LorsaValues,
  { y, valid }: { y: Value; valid: Value },
): LossValues {
  return g.scope('loss', () => {
    const rows = g.reshape(y, [-1, config.d_model]);
    const counted = g.reshape(valid, [-1, 1]); // [token, 1]
    const error = g.sub(forward.reconstruction, rows);
    const tokens = g.reduceSum(counted, { keepDims: false });
    const weight = g.div(counted, tokens);
    const weightedError = g.mul(error, counted);
    const errorSum = g.reduceSum(g.mul(weightedError, error), { keepDims: false });
    const weighted = g.mul(rows, counted);
    const fired = g.reduceSum(g.mul(forward.active, counted), { axes: [0], keepDims: false });
    g.output('tokens', tokens);
    g.output('error_sum', errorSum);
    g.output('square_sum', g.reduceSum(g.mul(weighted, rows), { keepDims: false }));
    g.output('total', g.reduceSum(weighted, { axes: [0], keepDims: false }));
    g.output('active_sum', g.reduceSum(fired, { keepDims: false }));
    g.output('fired', fired);
    const cotangent = g.mul(weightedError, g.div(2, tokens));
    return { loss: g.div(errorSum, tokens), error, tokens, weight, cotangent, fired };
  });
}

/**
 * Forward and sums without gradients: what evaluation and initialisation read.
 *
 *   feeds     those of the step that the forward pass and the loss need
 *   outputs   loss and the sums of the step · pre `[token, ov_head]` · reconstruction `[token, d_model]`
 */
function buildEvaluation(config: LorsaConfig): Graph {
  const g = new GraphBuilder('lorsa_evaluation');
  const parameters = parameterInputs(g, config);
  const inputs = layerInputs(g, config);
  const y = g.input('y', 'f32', ['batch', 'pos', config.d_model]);
  const valid = g.input('valid', 'f32', ['batch', 'pos']);
  const forward = lorsaGraph(g, config, parameters, inputs);
  g.output('loss', buildLoss(g, config, forward, { y, valid }).loss);
  g.output('pre', forward.preActivations);
  g.output('reconstruction', forward.reconstruction);
  return g.build();
}

/** The evaluation as ONNX bytes, which an engine takes. */
export const encodedEvaluation = (config: LorsaConfig): Uint8Array =>
  encodeModel(buildEvaluation(config));

export interface StepNumbers {
  readonly topK: number;
  readonly rate: number;
  /** Counted from 1. */
  readonly step: number;
  /** Infinity: no clipping. */
  readonly clipNorm: number;
  readonly adam: AdamConfig;
}

/** Larger than any gradient and still finite in fp32: "do not clip". */
const NO_CLIP = 1e30;

/** The scalar feeds of one step. */
export function stepFeeds(numbers: StepNumbers): Readonly<Record<string, Tensor>> {
  const { adam, step, clipNorm } = numbers;
  const { first, second } = adamCorrections(adam, step);
  const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
  return {
    k: tensor('i64', [1], BigInt64Array.of(BigInt(numbers.topK))),
    learning_rate: scalar(numbers.rate),
    beta1: scalar(adam.beta1),
    beta2: scalar(adam.beta2),
    epsilon: scalar(adam.epsilon),
    correction1: scalar(first),
    correction2: scalar(second),
    clip_norm: scalar(Number.isFinite(clipNorm) ? clipNorm : NO_CLIP),
  };
}
