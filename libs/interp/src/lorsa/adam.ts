import { assert } from '@heddle/core';
import type { GraphBuilder, Value } from '@heddle/onnx';
import { nextName, stateFeeds } from './state-feeds.ts';

/** Adam's constants (Kingma & Ba 2015), PyTorch's defaults. */
export interface AdamConfig {
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
}

/** Keeps clip / norm finite for a zero gradient, as PyTorch's clip_grad_norm_. */
export const CLIP_EPSILON = 1e-6;

export const ADAM_DEFAULTS: AdamConfig = { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };

/** 1 − β^t for the step that is about to be taken, t counted from 1: what the moments are divided by. */
export function adamCorrections(
  config: AdamConfig,
  step: number,
): { readonly first: number; readonly second: number } {
  assert(step >= 1, 'Adam counts its steps from 1');
  return { first: 1 - config.beta1 ** step, second: 1 - config.beta2 ** step };
}

/**
 * One Adam step, in place, fp64: m ← β1 m + (1−β1) g, v ← β2 v + (1−β2) g²,
 * p ← p − rate · (m / (1−β1^t)) / (√(v / (1−β2^t)) + ε).
 */
export function adamStep(
  config: AdamConfig,
  state: { readonly p: Float64Array; readonly m: Float64Array; readonly v: Float64Array },
  gradient: ArrayLike<number>,
  { rate, step }: { readonly rate: number; readonly step: number },
): void {
  const { beta1, beta2, epsilon } = config;
  const { first, second } = adamCorrections(config, step);
  const { p, m, v } = state;
  for (let at = 0; at < p.length; at++) {
    m[at] = beta1 * m[at] + (1 - beta1) * gradient[at];
    v[at] = beta2 * v[at] + (1 - beta2) * gradient[at] ** 2;
    p[at] -= (rate * (m[at] / first)) / (Math.sqrt(v[at] / second) + epsilon);
  }
}

/** Feeds of the optimiser, all scalars. */
export interface AdamInputs {
  readonly rate: Value;
  readonly beta1: Value;
  readonly beta2: Value;
  readonly epsilon: Value;
  readonly correction1: Value;
  readonly correction2: Value;
}

export function adamInputs(g: GraphBuilder): AdamInputs {
  const scalar = (name: string) => g.input(name, 'f32', []);
  return {
    rate: scalar('learning_rate'),
    beta1: scalar('beta1'),
    beta2: scalar('beta2'),
    epsilon: scalar('epsilon'),
    correction1: scalar('correction1'),
    correction2: scalar('correction2'),
  };
}

/** The same step in a graph. */
export function adamGraph(
  g: GraphBuilder,
  inputs: AdamInputs,
  { p, m, v }: { readonly p: Value; readonly m: Value; readonly v: Value },
  gradient: Value,
): { readonly p: Value; readonly m: Value; readonly v: Value } {
  const mix = (old: Value, beta: Value, fresh: Value) =>
    g.add(g.mul(old, beta), g.mul(fresh, g.sub(1, beta)));
  const nextM = mix(m, inputs.beta1, gradient);
  const nextV = mix(v, inputs.beta2, g.mul(gradient, gradient));
  const root = g.add(g.sqrt(g.div(nextV, inputs.correction2)), inputs.epsilon);
  const move = g.div(g.mul(nextM, g.div(inputs.rate, inputs.correction1)), root);
  return { p: g.sub(p, move), m: nextM, v: nextV };
}

/** A parameter in a graph that trains it. */
export interface Trained {
  readonly name: string;
  readonly value: Value;
  readonly shape: readonly number[];
  /** d loss / d value. */
  readonly slope: Value;
}

/**
 * The end of a training step: clips all gradients together and moves every parameter.
 *
 *   feeds     learning_rate, beta1, beta2, epsilon, correction1, correction2, clip_norm · adam_m.*, adam_v.*
 *   outputs   next.* of every state feed · gradient_norm (before clipping) · `withGradients`: gradient.*
 */
export function optimiserGraph(
  g: GraphBuilder,
  trained: readonly Trained[],
  withGradients: boolean,
): void {
  const adam = adamInputs(g);
  const clip = g.input('clip_norm', 'f32', []);
  g.scope('adam', () => {
    const squares = trained.map(({ slope }) => g.reduceSumSquare(slope, { keepDims: false }));
    const norm = g.sqrt(squares.reduce((a, b) => g.add(a, b)));
    const factor = g.min(g.div(clip, g.add(norm, CLIP_EPSILON)), 1);
    g.output('gradient_norm', norm);
    for (const { name, value, shape, slope } of trained) {
      if (withGradients) g.output(`gradient.${name}`, slope);
      const feeds = stateFeeds(name);
      const moment = (feed: string) => g.input(feed, 'f32', shape);
      const state = { p: value, m: moment(feeds.m), v: moment(feeds.v) };
      const next = adamGraph(g, adam, state, g.mul(slope, factor));
      g.output(nextName(feeds.p), next.p);
      g.output(nextName(feeds.m), next.m);
      g.output(nextName(feeds.v), next.v);
    }
  });
}
