import { elementCount } from '@heddle/tensor';
import type { ModelConfig } from '../config/model-config.ts';
import { hookPoint, type Segment } from '../hooks/catalogue.ts';
import { BACKWARD_FLOPS, BACKWARD_MEMORY } from '../limits.ts';
import type { Model } from '../model.ts';
import type { ForwardPlan, ForwardStep } from './plan-forward.ts';

/** What a plan costs, before anything runs: for admission, and for what is told to who asked too much. */
export interface ForwardEstimate {
  /** Multiply-adds of all products, times two; attention in full, T × T. */
  readonly flops: number;
  /** Bytes of weights that the sessions hold, widened to f32. */
  readonly weightBytes: number;
  /** Bytes of everything kept as f32. */
  readonly outputBytes: number;
  /** Bytes at the worst moment: all outputs so far, residual streams that wait for the way back, and the widest activations of one step. */
  readonly peakBytes: number;
}

export interface ForwardSizes {
  readonly batch: number;
  readonly pos: number;
  /** Rows of logits; batch · pos when left out. */
  readonly logitRows?: number;
}

/** *Cost of a plan.* Bounds from above within some ten percent, of a way back within a half; exact for outputs. */
export function estimateForward(
  model: Model,
  plan: ForwardPlan,
  sizes: ForwardSizes,
): ForwardEstimate {
  const { config } = model;
  let [flops, weightBytes, widest] = [0, 0, 0];
  for (const step of plan.steps) {
    const backward = step.request.gradient !== undefined;
    flops += flopsOf(config, step.segment, sizes) * (backward ? BACKWARD_FLOPS : 1);
    weightBytes += segmentWeightBytes(model, step.segment);
    const bytes = backward ? backwardBytes : activationBytes;
    widest = Math.max(widest, bytes(config, step, sizes));
  }
  const held = plan.steps.filter(({ request }) => request.gradient).length;
  const streams = 4 * held * sizes.batch * sizes.pos * config.d_model;
  let outputBytes = 0;
  for (const hook of plan.outputs.keys()) outputBytes += hookBytes(config, hook, sizes);
  return { flops, weightBytes, outputBytes, peakBytes: outputBytes + streams + widest };
}

/** Bytes of one hook's value as f32, batch included. */
function hookBytes(config: ModelConfig, hook: string, sizes: ForwardSizes): number {
  const { batch, pos } = sizes;
  if (hook === 'logits') return 4 * (sizes.logitRows ?? batch * pos) * config.d_vocab;
  const shape = hookPoint(config, hook).shape.map((n) => (n === 'pos' ? pos : n));
  return 4 * batch * elementCount(shape);
}

/** Bytes of a segment's weights once widened to f32. The unembedding of a tied model holds W_E once more. */
function segmentWeightBytes(model: Model, segment: Segment): number {
  const { tiedEmbeddings } = model.config;
  let bytes = 0;
  for (const { role, shape } of model.weights.values()) {
    const mine =
      segment.kind === 'block'
        ? role.startsWith(`blocks.${segment.layer}.`)
        : segment.kind === 'embed'
          ? role === 'W_E' || role === 'W_pos'
          : role.startsWith('ln_final') || role === (tiedEmbeddings ? 'W_E' : 'W_U');
    if (mine) bytes += 4 * elementCount(shape);
  }
  return bytes;
}

function flopsOf(
  config: ModelConfig,
  segment: Segment,
  { batch, pos, logitRows }: ForwardSizes,
): number {
  const { d_model, d_head, d_mlp, d_vocab, n_heads, n_key_value_heads, mlp } = config;
  if (segment.kind === 'embed') return 0;
  if (segment.kind === 'unembed') return 2 * (logitRows ?? batch * pos) * d_model * d_vocab;
  const heads = 2 * n_heads + 2 * n_key_value_heads;
  const perToken = d_model * d_head * heads + d_model * d_mlp * (mlp.gated ? 3 : 2);
  return 2 * batch * pos * (perToken + 2 * pos * n_heads * d_head);
}

function activationBytes(config: ModelConfig, step: ForwardStep, sizes: ForwardSizes): number {
  const { batch, pos } = sizes;
  const { d_model, d_mlp, d_head, n_heads, d_vocab } = config;
  const tokens = batch * pos;
  if (step.segment.kind === 'embed') return 4 * tokens * d_model * 2;
  if (step.segment.kind === 'unembed') {
    return 4 * (tokens * d_model * 3 + (sizes.logitRows ?? tokens) * d_vocab);
  }
  const scores = (2 * batch * n_heads * pos * pos) / step.request.queryBlocks;
  const attention = tokens * (3 * d_model + 8 * n_heads * d_head) + scores;
  const mlp = tokens * (3 * d_model + 3 * d_mlp);
  const results = step.request.hooks.some((h) => h.endsWith('hook_result'))
    ? tokens * n_heads * d_model
    : 0;
  return 4 * (Math.max(attention, mlp) + results);
}

/**
 * What a segment holds on the way back: each value waits for its cotangent. Of attention, the pattern of every query block waits,
 * and the block at work has some four tensors of its size beside it.
 */
function backwardBytes(config: ModelConfig, step: ForwardStep, sizes: ForwardSizes): number {
  if (step.segment.kind !== 'block') {
    return BACKWARD_MEMORY * activationBytes(config, step, sizes);
  }
  const { batch, pos } = sizes;
  const { d_model, d_mlp, n_heads } = config;
  const scores = batch * n_heads * pos * pos * (1 + 4 / step.request.queryBlocks);
  return 4 * (BACKWARD_MEMORY * batch * pos * (3 * d_model + 3 * d_mlp) + scores);
}
