import { assert } from '@heddle/core';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import type { ModelConfig } from '../config/model-config.ts';
import { hookPoint } from '../hooks/catalogue.ts';
import { type SegmentGradient, seedFeed } from '../segments/segment-request.ts';
import type { TargetTerm } from './resolve-target.ts';

/** For each prompt of a batch its terms, placed (`placeTarget`). */
export type PlacedTargets = readonly (readonly TargetTerm[])[];

/** Which row of the unembedding a term of `logits` is: prompt by prompt, in the order of the terms. */
interface LogitRow {
  readonly prompt: number;
  readonly position: number;
  readonly token: number;
  readonly term: TargetTerm;
}

function logitRowsOf(targets: PlacedTargets): readonly LogitRow[] {
  return targets.flatMap((terms, prompt) =>
    terms
      .filter(({ hook }) => hook === 'logits')
      .map((term) => {
        const [position = 0, token = 0] = term.indices;
        return { prompt, position, token, term };
      }),
  );
}

/** *Feeds of a backward segment that come from the target*: weights at the entries that the scalar reads, zero elsewhere. */
export function targetFeeds(
  config: ModelConfig,
  { seeds }: SegmentGradient,
  pos: number,
  targets: PlacedTargets,
): Record<string, Tensor> {
  const feeds: Record<string, Tensor> = {};
  for (const hook of seeds) {
    if (hook === 'logits') Object.assign(feeds, logitFeeds(logitRowsOf(targets), pos));
    else feeds[seedFeed(hook)] = seedOf(config, hook, pos, targets);
  }
  return feeds;
}

function logitFeeds(rows: readonly LogitRow[], pos: number): Record<string, Tensor> {
  const count = rows.length;
  assert(count > 0, 'a target that reads logits has a row of them');
  const column = (of: TargetTerm['of']) =>
    tensor(
      'f32',
      [count, 1],
      Float32Array.from(rows, ({ term }) => (term.of === of ? term.weight : 0)),
    );
  const whole = (values: readonly number[]) => BigInt64Array.from(values, BigInt);
  return {
    logit_rows: tensor(
      'i64',
      [count],
      whole(rows.map(({ prompt, position }) => prompt * pos + position)),
    ),
    logit_tokens: tensor('i64', [count, 1], whole(rows.map(({ token }) => token))),
    logit_weights: column('value'),
    logprob_weights: column('logprob'),
  };
}

function seedOf(
  config: ModelConfig,
  hook: string,
  pos: number,
  targets: PlacedTargets,
): Tensor<'f32'> {
  const shape = hookPoint(config, hook).shape.map((n) => (n === 'pos' ? pos : n));
  const each = elementCount(shape);
  const data = new Float32Array(targets.length * each);
  targets.forEach((terms, prompt) => {
    for (const { hook: read, indices, weight } of terms) {
      if (read !== hook) continue;
      const place = indices.reduce((sum, index, axis) => sum * (shape[axis] as number) + index, 0);
      data[prompt * each + place] = (data[prompt * each + place] as number) + weight;
    }
  });
  return tensor('f32', [targets.length, ...shape], data);
}

/**
 * *One prompt's gradient by its logits*, [pos, d_vocab], from the rows that the engine gives, one for each term: where the scalar
 * reads nothing it is zero. `positions` picks rows.
 */
export function logitGradient(
  config: ModelConfig,
  rows: Tensor,
  targets: PlacedTargets,
  at: { readonly prompt: number; readonly positions: readonly number[] },
): Tensor<'f32'> {
  const width = config.d_vocab;
  const out = new Float32Array(at.positions.length * width);
  logitRowsOf(targets).forEach(({ prompt, position }, row) => {
    const to = at.positions.indexOf(position) * width;
    if (prompt !== at.prompt || to < 0) return;
    for (let j = 0; j < width; j++) {
      out[to + j] = (out[to + j] as number) + Number(rows.data[row * width + j]);
    }
  });
  return tensor('f32', [at.positions.length, width], out);
}
