import { resourceExhausted } from '@heddle/core';
import {
  estimateForward,
  type ForwardPlan,
  type HookPoint,
  planForward,
  sliceHook,
} from '@heddle/models';
import { BYTES_PER_ELEMENT, elementCount, narrowF16, type Tensor, tensor } from '@heddle/tensor';
import { bucketOf } from './actor.ts';
import { checkRange } from './check-range.ts';
import type { CheckedRun } from './check-run.ts';
import { type GradientPlan, planGradient } from './gradient-plan.ts';
import { BATCH_BYTES_MAX, GRADIENT_MEMORY_FACTOR, RUN_BYTES_MAX } from './limits.ts';
import { coefficientsAt, type Objective } from './objective.ts';
import type { LoadedModel } from './open-model.ts';

/** What a prompt of a run asks of the model, and what that takes. */
export interface PromptPlan {
  /** Gradients, where the run has an objective; else the values themselves. */
  readonly chain:
    | { readonly kind: 'values'; readonly plan: ForwardPlan }
    | { readonly kind: 'gradient'; readonly plan: GradientPlan; readonly objective: Objective };
  /** Equal keys run in one batch. */
  readonly key: string;
  /** Memory in the engine per padded token. */
  readonly bytesPerToken: number;
}

/**
 * The chain of segments for a prompt of `length` tokens. Errors: `resource_exhausted` with the estimate when the prompt alone
 * takes more memory than a batch may.
 */
export function planPrompt(model: LoadedModel, run: CheckedRun, length: number): PromptPlan {
  const { objective } = run;
  const hooks = run.hooks.map(({ name }) => name);
  const interventions = [...new Set(run.interventions.map(({ hook }) => hook))];
  const plan = planForward(model, { hooks, interventions, pos: bucketOf(length) });
  const logitRows = run.positions?.length ?? length;
  const estimate = estimateForward(model, plan, { batch: 1, pos: length, logitRows });
  const peakBytes = estimate.peakBytes * (objective ? GRADIENT_MEMORY_FACTOR : 1);
  if (peakBytes > BATCH_BYTES_MAX) {
    throw resourceExhausted(
      `a prompt of ${length} tokens with these hooks takes ${peakBytes} bytes in the engine; at most ${BATCH_BYTES_MAX} are given: ask for fewer hooks or a shorter prompt`,
      {
        field: 'hooks',
        retryable: false,
        details: { limit: BATCH_BYTES_MAX, estimate: peakBytes },
      },
    );
  }
  const bytesPerToken = Math.ceil(peakBytes / length);
  if (!objective) {
    const key = `${model.digest} ${plan.steps.map((step) => step.key).join(' ')}`;
    return { chain: { kind: 'values', plan }, key, bytesPerToken };
  }
  const gradient = planGradient(model, run.hooks, objective, interventions);
  const keys = [...gradient.forward.steps, ...gradient.backward].map((step) => step.key);
  // Equal texts are equal objectives: positions from the end are resolved per prompt.
  const key = `${model.digest} ${keys.join(' ')} ${run.objectiveText}`;
  return { chain: { kind: 'gradient', plan: gradient, objective }, key, bytesPerToken };
}

/** Bytes on the wire of one prompt's tensors. */
export function replyBytes(run: CheckedRun, length: number): number {
  return run.hooks.reduce(
    (bytes, point) =>
      bytes + elementCount(replyShape(run, point, length)) * BYTES_PER_ELEMENT[run.dtype],
    0,
  );
}

/** Errors: `resource_exhausted` with the estimate when all prompts together stream more than a request may. */
export function checkReplyBytes(run: CheckedRun): number {
  const bytes = run.prompts.reduce((sum, { tokens }) => sum + replyBytes(run, tokens.length), 0);
  if (bytes <= RUN_BYTES_MAX) return bytes;
  throw resourceExhausted(
    `the values asked for are ${bytes} bytes; one request streams at most ${RUN_BYTES_MAX}: ask for positions, fewer hooks or fewer prompts`,
    { field: 'hooks', retryable: false, details: { limit: RUN_BYTES_MAX, estimate: bytes } },
  );
}

const isChosenAxis = (axis: string): boolean => axis === 'pos' || axis === 'query_pos';

function replyShape(run: CheckedRun, point: HookPoint, length: number): readonly number[] {
  return point.shape.map((size, i) => {
    if (size !== 'pos') return size;
    return isChosenAxis(point.axes[i] ?? '') ? (run.positions?.length ?? length) : length;
  });
}

/**
 * Rows of the unembedding, one for each position asked for of each prompt: indices into batch · pos. Without this, full logits of a
 * thousand tokens are two hundred MiB.
 */
export function logitRows(runs: readonly CheckedRun[], lengths: readonly number[]): number[] {
  const pos = Math.max(...lengths);
  return runs.flatMap((run, b) => {
    const positions = run.positions ?? Array.from({ length: lengths[b] ?? 0 }, (_, p) => p);
    return positions.map((p) => b * pos + p);
  });
}

/**
 * A prompt's own part of a batch's value at a hook: without padding, at the positions and in the dtype asked for.
 * Errors: those of `checkRange`.
 */
export function replyTensor(
  model: LoadedModel,
  run: CheckedRun,
  point: HookPoint,
  value: Tensor,
  place: { readonly batchIndex: number; readonly length: number; readonly firstRow: number },
): Tensor {
  const { batchIndex, length, firstRow } = place;
  const { positions } = run;
  const at = { prompt: batchIndex, length, ...(positions ? { positions } : {}) };
  const own =
    point.name === 'logits'
      ? rowsOf(value, firstRow, positions?.length ?? length)
      : sliceHook(model.config, point.name, value, at);
  checkRange(point, own, run.dtype);
  if (run.dtype === 'f32') return own;
  return tensor('f16', own.shape, narrowF16(own.data as Float32Array));
}

/** The gradient at the logits themselves: what the objective multiplies them by. */
export function logitGradient(
  { config }: LoadedModel,
  run: CheckedRun,
  objective: Objective,
  length: number,
): Tensor {
  const dense = coefficientsAt(objective, 'logits', length, [length, config.d_vocab]);
  const value = tensor('f32', [1, length, config.d_vocab], dense);
  const { positions } = run;
  const at = { prompt: 0, length, ...(positions ? { positions } : {}) };
  const own = sliceHook(config, 'logits', value, at);
  return run.dtype === 'f32' ? own : tensor('f16', own.shape, narrowF16(own.data as Float32Array));
}

function rowsOf(value: Tensor, first: number, count: number): Tensor {
  const width = value.shape[1] ?? 1;
  const data = (value.data as Float32Array).slice(first * width, (first + count) * width);
  return tensor('f32', [count, width], data);
}
