import { encodeModel, type Graph, GraphBuilder, gradients, type Value } from '@heddle/onnx';
import { type AdamInputs, adamGraph, adamInputs } from '../lorsa/adam.ts';
import {
  SAE_PARAMETERS,
  type SaeConfig,
  type SaeParameter,
  type SaeWeights,
  saeShape,
} from './sae-config.ts';
import { type SaeParameterValues, saeGraph, saeParameterInputs } from './sae-graph.ts';

/** Names of a parameter's state between steps: itself and Adam's moments, as feeds and in checkpoints. */
export const saeStateFeeds = (name: SaeParameter) =>
  ({ p: name, m: `adam_m.${name}`, v: `adam_v.${name}` }) as const;

/** Every feed that is carried from step to step. */
export const SAE_STATE: readonly string[] = SAE_PARAMETERS.flatMap((name) =>
  Object.values(saeStateFeeds(name)),
);

export const saeStateShape = (config: SaeConfig, feed: string): readonly number[] =>
  saeShape(config, feed.slice(feed.indexOf('.') + 1) as keyof SaeWeights);

/** Keeps clip / norm finite for a zero gradient, as PyTorch's clip_grad_norm_. */
const CLIP_EPSILON = 1e-6;

/**
 * One training step: forward, loss, gradients by autodiff, global-norm clipping, Adam.
 *
 *   feeds     y `[batch, pos, d_model]` (normalised) · valid `[batch, pos]` 0/1 · k i64 `[1]` · every parameter with
 *             adam_m.*, adam_v.* · learning_rate, beta1, beta2, epsilon, correction1, correction2, clip_norm
 *   outputs   next.* of every state feed · loss (mean squared error per valid token) · tokens, error_sum, square_sum,
 *             total `[d_model]`, active_sum · fired `[feature]`: tokens on which it was active · gradient_norm (before clipping)
 */
export function buildSaeStep(
  config: SaeConfig,
  options: { readonly withGradients?: boolean } = {},
): Graph {
  const g = new GraphBuilder('sae_train_step');
  const parameters = saeParameterInputs(g, config);
  const { loss } = buildForward(g, config, parameters);
  const adam = adamInputs(g);
  const clip = g.input('clip_norm', 'f32', []);
  const wrt = SAE_PARAMETERS.map((name) => parameters[name]);
  const slopes = g.scope('backward', () => gradients(g, loss, wrt));
  g.scope('adam', () => {
    const squares = slopes.map((slope) => g.reduceSumSquare(slope, { keepDims: false }));
    const norm = g.sqrt(squares.reduce((a, b) => g.add(a, b)));
    const factor = g.min(g.div(clip, g.add(norm, CLIP_EPSILON)), 1);
    g.output('gradient_norm', norm);
    SAE_PARAMETERS.forEach((name, index) => {
      const slope = slopes[index];
      if (options.withGradients) g.output(`gradient.${name}`, slope);
      buildUpdate(g, config, { name, parameter: parameters[name], adam }, g.mul(slope, factor));
    });
  });
  return g.build();
}

function buildUpdate(
  g: GraphBuilder,
  config: SaeConfig,
  { name, parameter, adam }: { name: SaeParameter; parameter: Value; adam: AdamInputs },
  slope: Value,
): void {
  const feeds = saeStateFeeds(name);
  const moment = (feed: string) => g.input(feed, 'f32', saeShape(config, name));
  const state = { p: parameter, m: moment(feeds.m), v: moment(feeds.v) };
  const next = adamGraph(g, adam, state, slope);
  g.output(`next.${feeds.p}`, next.p);
  g.output(`next.${feeds.m}`, next.m);
  g.output(`next.${feeds.v}`, next.v);
}

/** Forward pass, loss and the sums that `figures` reads. */
function buildForward(
  g: GraphBuilder,
  config: SaeConfig,
  parameters: SaeParameterValues,
): { readonly loss: Value; readonly reconstruction: Value } {
  const { d_model } = config;
  const y = g.reshape(g.input('y', 'f32', ['batch', 'pos', d_model]), [-1, d_model]);
  const valid = g.reshape(g.input('valid', 'f32', ['batch', 'pos']), [-1, 1]); // [token, 1]
  g.sizeInput('k');
  const { active, reconstruction } = saeGraph(g, parameters, y, 'k');
  return g.scope('loss', () => {
    const error = g.sub(reconstruction, y);
    const tokens = g.reduceSum(valid, { keepDims: false });
    const errorSum = g.reduceSum(g.mul(g.mul(error, error), valid), { keepDims: false });
    const weighted = g.mul(y, valid);
    const fired = g.reduceSum(g.mul(active, valid), { axes: [0], keepDims: false });
    const loss = g.div(errorSum, tokens);
    g.output('loss', loss);
    g.output('tokens', tokens);
    g.output('error_sum', errorSum);
    g.output('square_sum', g.reduceSum(g.mul(weighted, y), { keepDims: false }));
    g.output('total', g.reduceSum(weighted, { axes: [0], keepDims: false }));
    g.output('active_sum', g.reduceSum(fired, { keepDims: false }));
    g.output('fired', fired);
    return { loss, reconstruction };
  });
}

/** The step's forward pass alone: its feeds without the optimiser's; its sums, and reconstruction `[token, d_model]`. */
export function buildSaeLoss(config: SaeConfig): Graph {
  const g = new GraphBuilder('sae_loss');
  const { reconstruction } = buildForward(g, config, saeParameterInputs(g, config));
  g.output('reconstruction', reconstruction);
  return g.build();
}

export const encodedSaeStep = (config: SaeConfig): Uint8Array => encodeModel(buildSaeStep(config));
export const encodedSaeLoss = (config: SaeConfig): Uint8Array => encodeModel(buildSaeLoss(config));
