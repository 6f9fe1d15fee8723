import type { Estimate } from '@heddle/actor';
import { stepCost } from '@heddle/interp/lorsa';
import type { TrainSettings } from './lorsa-settings.ts';

/** Floating-point operations a second of one busy core's matrix product: what an estimate of time rests on. */
const PRODUCT_RATE = 1e11;

/** What of that rate a step's operations reach: `npm run bench -- lorsa` on a quiet machine, rounded down. */
const SHARE = { graph: 0.55, sparse: 0.38 } as const;

type Sizes = Pick<TrainSettings, 'config' | 'steps' | 'batch' | 'context'>;

/** Seconds of one step by each backend on one core. */
export function stepSeconds({ config, batch, context }: Omit<Sizes, 'steps'>) {
  const cost = stepCost(config, batch, context);
  return {
    graph: cost.graph / (SHARE.graph * PRODUCT_RATE),
    sparse: cost.sparse / (SHARE.sparse * PRODUCT_RATE),
  };
}

/** What a training by the `graph` backend will cost: its memory is weights, moments, gradients and what a step computes. */
export function estimateTraining(settings: Sizes): Estimate {
  const { config, steps, batch, context } = settings;
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head } = config;
  const parameters = 2 * d_model * (n_ov_heads + n_qk_heads * d_qk_head);
  const working = batch * context * (6 * n_ov_heads + 4 * n_qk_heads * context);
  return {
    seconds: steps * stepSeconds(settings).graph,
    bytes: 4 * (5 * parameters + working),
  };
}

/** The same by the `sparse` backend; `kernelBytes`: the memory of the kernels, which holds weights and moments. */
export function estimateSparse(settings: Sizes, kernelBytes: number): Estimate {
  const { config, steps, batch, context } = settings;
  const working = batch * context * (config.n_ov_heads + 3 * config.n_qk_heads * context);
  return { seconds: steps * stepSeconds(settings).sparse, bytes: kernelBytes + 4 * working };
}
