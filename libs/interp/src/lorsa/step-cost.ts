import { causalBlocks } from './causal-blocks.ts';
import type { LorsaConfig } from './lorsa-config.ts';

/** Floating-point operations of one step, multiply and add counted separately, Adam left out (it is bound by memory). */
export interface StepCost {
  readonly graph: number;
  readonly sparse: number;
}

/**
 * What a step of `batch` sequences of `pos` tokens costs on each backend.
 *
 *   both     queries, keys and their gradients                8 · tokens · d_model · width      (width = n_qk_heads · d_qk_head)
 *   graph    scores 6 · tokens · pos · width;  values, decode and their gradients 10 · tokens · d_model · n_ov_heads;
 *            mixing 6 · tokens · pos · n_ov_heads
 *   sparse   scores and A x, U xᵀ by causal blocks;  encode 2 · tokens · d_model · n_ov_heads;  pairs 10 · tokens · K · d_model
 *
 * A x is computed for every shared head: with groups smaller than d_model it costs more than mixing values would, so many
 * shared heads and long sequences favour `graph`.
 */
export function stepCost(config: LorsaConfig, batch: number, pos: number): StepCost {
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head, topK } = config;
  const tokens = batch * pos;
  const width = n_qk_heads * d_qk_head;
  const projections = 8 * tokens * d_model * width;
  const scores = 6 * tokens * pos * width;
  const seen = causalBlocks(pos).reduce((sum, { start, end }) => sum + (end - start) * end, 0);
  const causal = seen / (pos * pos);
  return {
    graph:
      projections + scores + 10 * tokens * d_model * n_ov_heads + 6 * tokens * pos * n_ov_heads,
    sparse:
      projections +
      causal * (scores + 4 * tokens * pos * n_qk_heads * d_model) +
      2 * tokens * d_model * n_ov_heads +
      10 * tokens * topK * d_model,
  };
}
