import { assert } from '@heddle/core';
import {
  type LorsaConfig,
  type LorsaSums,
  type LorsaWeights,
  parameterNames,
  rotaryFeeds,
  toF32,
} from '@heddle/interp/lorsa';
import type { Outputs, Plan, Program } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { EVALUATION_ENTRIES } from './limits.ts';
import type { Sequences } from './sequences.ts';

const SUMS = ['tokens', 'error_sum', 'square_sum', 'total', 'active_sum'] as const;

/** The evaluation of some normalised sequences as a plan of one step. K is the config's. */
export function planEvaluation(
  config: LorsaConfig,
  program: Program,
  weights: LorsaWeights,
  sequences: Sequences,
  keep: readonly string[] = SUMS,
): Plan {
  const [, pos = 0] = sequences.x.shape;
  const parameters = parameterNames(config).map((name) => {
    const value = weights[name];
    assert(value, () => `${name} is missing`);
    return [name, toF32(value)] as const;
  });
  const { x, y, valid } = sequences;
  const feeds = {
    ...Object.fromEntries(parameters),
    ...f32Tables(config, pos),
    x,
    y,
    valid: tensor('f32', valid.shape, Float32Array.from(valid.data)),
    k: tensor('i64', [1], BigInt64Array.of(BigInt(config.topK))),
  };
  return { steps: [{ program, feeds, keep }] };
}

/** Sequences of `pos` tokens in one evaluation, at most `wanted`: its pre-activations are dense. */
export function evaluationBatch({ n_ov_heads }: LorsaConfig, pos: number, wanted: number): number {
  const fitting = Math.floor(EVALUATION_ENTRIES / Math.max(1, n_ov_heads * pos));
  return Math.max(1, Math.min(wanted, fitting));
}

export function sumsOf(outputs: Outputs): LorsaSums {
  return {
    tokens: number(outputs, 'tokens'),
    error: number(outputs, 'error_sum'),
    square: number(outputs, 'square_sum'),
    total: Float64Array.from(floats(outputs, 'total')),
    active: number(outputs, 'active_sum'),
  };
}

export function floats(outputs: Outputs, name: string): Float32Array {
  const t = outputs[name];
  assert(t?.dtype === 'f32', () => `the engine gave no ${name}`);
  return t.data as Float32Array;
}

function number(outputs: Outputs, name: string): number {
  return floats(outputs, name)[0] ?? Number.NaN;
}

function f32Tables(config: LorsaConfig, pos: number): Record<string, Tensor> {
  const tables = Object.entries(rotaryFeeds(config, pos));
  return Object.fromEntries(tables.map(([name, t]) => [name, toF32(t)]));
}
