import type { Estimate } from '@heddle/actor';
import type { TrainSettings } from './lorsa-settings.ts';

/** Multiply-adds a second of one busy core: what an estimate of time rests on. */
const RATE = 3e10;

type Sizes = Pick<TrainSettings, 'config' | 'steps' | 'batch' | 'context'>;

/**
 * What a training by the `graph` backend will cost: three passes over the two big products and the projections for every
 * step, and memory for weights, moments, gradients and what a step computes.
 */
export function estimateTraining({ config, steps, batch, context }: Sizes): Estimate {
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head } = config;
  const tokens = batch * context;
  const parameters = 2 * d_model * (n_ov_heads + n_qk_heads * d_qk_head);
  const perStep = 3 * tokens * (parameters + context * (n_ov_heads + n_qk_heads * d_qk_head));
  const working = tokens * (6 * n_ov_heads + 4 * n_qk_heads * context);
  return { seconds: (steps * perStep) / RATE, bytes: 4 * (5 * parameters + working) };
}

/**
 * The same by the `sparse` backend: one pass over what every head reads, three over projections and patterns, and the
 * rows of active heads. `kernelBytes`: the memory of the kernels, which holds weights and moments.
 */
export function estimateSparse(settings: Sizes, kernelBytes: number): Estimate {
  const { config, steps, batch, context } = settings;
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head, topK } = config;
  const tokens = batch * context;
  const projections = 6 * d_model * n_qk_heads * d_qk_head;
  const patterns = context * n_qk_heads * (3 * d_qk_head + 2 * d_model);
  const perStep = tokens * (d_model * n_ov_heads + projections + patterns + 6 * topK * d_model);
  const working = tokens * (n_ov_heads + 3 * n_qk_heads * context);
  return { seconds: (steps * perStep) / RATE, bytes: kernelBytes + 4 * working };
}
