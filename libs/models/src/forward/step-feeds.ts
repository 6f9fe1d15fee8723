import { assert, invalidArgument, resourceExhausted } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';
import type { ModelConfig, Rotary } from '../config/model-config.ts';
import { type PlacedTargets, targetFeeds } from '../gradient/gradient-feeds.ts';
import type { Segment } from '../hooks/catalogue.ts';
import type { Model } from '../model.ts';
import { factorFeed, gradientOf, valueFeed } from '../segments/segment-request.ts';
import { type BatchSizes, type Intervention, interventionFeeds } from './interventions.ts';
import { type ForwardPlan, stepOf } from './plan-forward.ts';

/** A value, or the output of an earlier step; what the ports call a Feed. */
export type StepFeed = Tensor | { readonly step: number; readonly output: string };

export interface ForwardInputs {
  /** i64 [batch, pos], from `padTokens`. */
  readonly tokens: Tensor<'i64'>;
  /** Length of each prompt, where some are padded. */
  readonly lengths?: readonly number[];
  /** Rows of batch · pos whose logits are wanted; every row when left out. */
  readonly logitRows?: readonly number[];
  readonly interventions?: readonly Intervention[];
  /** For a plan of gradients: each prompt's terms of the scalar. */
  readonly targets?: PlacedTargets;
}

/** *All feeds of all steps of a plan*, but for those that programs declare themselves. */
export function stepFeeds(
  model: Model,
  plan: ForwardPlan,
  inputs: ForwardInputs,
): readonly Readonly<Record<string, StepFeed>>[] {
  const [batch, pos] = inputs.tokens.shape as readonly [number, number];
  const { lengths, interventions = [] } = inputs;
  const sizes: BatchSizes = { batch, pos, ...(lengths ? { lengths } : {}) };
  const changes = interventionFeeds(model.config, sizes, interventions);
  return plan.steps.map(({ segment, request }, step) => {
    const feeds: Record<string, StepFeed> = segmentFeeds(model.config, segment, pos);
    if (segment.kind === 'embed') feeds['tokens'] = inputs.tokens;
    else feeds['resid_in'] = { step: stepOf(model, segment) - 1, output: 'resid_out' };
    if (segment.kind === 'unembed') feeds['logit_rows'] = rowsFeed(inputs.logitRows, batch * pos);
    const { gradient } = request;
    if (gradient) {
      assert(
        inputs.targets?.length === batch,
        'a plan of gradients needs the terms of each prompt',
      );
      Object.assign(feeds, targetFeeds(model.config, gradient, pos, inputs.targets));
    }
    if (gradient?.fromNext) {
      feeds[gradientOf('resid_out')] = { step: step - 1, output: gradientOf('resid_in') };
    }
    if (request.queryBlocks > 1) {
      const block = BigInt64Array.of(BigInt(Math.floor(pos / request.queryBlocks)));
      feeds['query_block'] = tensor('i64', [1], block);
    }
    for (const hook of request.interventions) {
      for (const name of [factorFeed(hook), valueFeed(hook)]) {
        const feed = changes[name];
        assert(feed !== undefined, () => `no intervention was given for the slot at ${hook}`);
        feeds[name] = feed;
      }
    }
    return feeds;
  });
}

/** Feeds of a segment that follow from the config and the length alone: rotary tables. */
function segmentFeeds(
  config: ModelConfig,
  segment: Segment,
  pos: number,
): Record<string, Tensor<'f32'>> {
  if (segment.kind !== 'block' || config.positions.kind === 'learned') return {};
  const { cos, sin } = rotaryTables(config.positions, pos);
  return { rotary_cos: roundTable(cos), rotary_sin: roundTable(sin) };
}

/** cos and sin of every position's angles, [pos, dims/2], in double: what the fp64 interpreter is fed. */
export function rotaryTables(
  rotary: Rotary,
  pos: number,
): { readonly cos: Tensor<'f64'>; readonly sin: Tensor<'f64'> } {
  const { frequencies, amplitude } = rotary;
  const half = frequencies.length;
  const [cos, sin] = [new Float64Array(pos * half), new Float64Array(pos * half)];
  for (let p = 0, i = 0; p < pos; p++) {
    for (const frequency of frequencies) {
      cos[i] = Math.cos(p * frequency) * amplitude;
      sin[i++] = Math.sin(p * frequency) * amplitude;
    }
  }
  return { cos: tensor('f64', [pos, half], cos), sin: tensor('f64', [pos, half], sin) };
}

function roundTable({ shape, data }: Tensor<'f64'>): Tensor<'f32'> {
  return tensor('f32', shape, Float32Array.from(data));
}

function rowsFeed(rows: readonly number[] | undefined, count: number): Tensor<'i64'> {
  const chosen = rows ?? Array.from({ length: count }, (_, i) => i);
  assert(
    chosen.every((row) => row >= 0 && row < count),
    'logit rows lie in batch · pos',
  );
  return tensor('i64', [chosen.length], BigInt64Array.from(chosen, BigInt));
}

/**
 * *Prompts as one batch*, padded behind their ends with token 0, which causal attention never sees.
 * Errors: `invalid_argument` for an empty prompt or a token out of range, `resource_exhausted` past n_ctx; `field` `prompts[i]`.
 */
export function padTokens(
  config: ModelConfig,
  prompts: readonly (readonly number[])[],
): Tensor<'i64'> {
  prompts.forEach((tokens, i) => {
    checkTokens(config, tokens, `prompts[${i}]`);
  });
  const pos = Math.max(0, ...prompts.map((tokens) => tokens.length));
  const data = new BigInt64Array(prompts.length * pos);
  prompts.forEach((tokens, i) => {
    data.set(BigInt64Array.from(tokens, BigInt), i * pos);
  });
  return tensor('i64', [prompts.length, pos], data);
}

/** Refuses what a model cannot read: no tokens, too many, or one that its vocabulary lacks. */
function checkTokens(config: ModelConfig, tokens: readonly number[], field: string): void {
  const { n_ctx, d_vocab } = config;
  if (tokens.length === 0) throw invalidArgument(`${field} has no tokens`, { field });
  if (tokens.length > n_ctx) {
    throw resourceExhausted(`${field} has ${tokens.length} tokens; the model reads ${n_ctx}`, {
      field,
      retryable: false,
      details: { limit: n_ctx, estimate: tokens.length },
    });
  }
  const bad = tokens.findIndex((t) => !Number.isInteger(t) || t < 0 || t >= d_vocab);
  if (bad >= 0) {
    throw invalidArgument(
      `${field}.tokens[${bad}] is ${tokens[bad]}; the vocabulary has tokens 0 to ${d_vocab - 1}`,
      { field: `${field}.tokens[${bad}]`, details: { limit: d_vocab - 1 } },
    );
  }
}
