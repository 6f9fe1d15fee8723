import { resourceExhausted } from '@heddle/core';
import {
  estimateForward,
  type ForwardPlan,
  type HookPoint,
  logitGradient,
  type PlacedTargets,
  planForward,
  planGradient,
  sliceHook,
} from '@heddle/models';
import type { LoadedModel } from '@heddle/ports';
import {
  BYTES_PER_ELEMENT,
  elementCount,
  narrowF16,
  type Tensor,
  tensor,
  zeros,
} from '@heddle/tensor';
import { bucketOf } from './actor.ts';
import { checkRange } from './check-range.ts';
import type { CheckedRun } from './check-run.ts';
import { BATCH_BYTES_MAX, RUN_BYTES_MAX, STEP_FLOPS } from './limits.ts';
import { LOSS_PER_TOKEN, lossOf, lossPrograms } from './loss-per-token.ts';

/** What a prompt of a run asks of the model, and what that takes. */
export interface PromptPlan {
  /** The values at the hooks, or the gradients there. */
  readonly plan: ForwardPlan;
  /** Hooks behind everything that a gradient's target reads. */
  readonly zeros: readonly string[];
  /** Equal keys run in one batch. */
  readonly key: string;
  /** Memory in the engine per padded token. */
  readonly bytesPerToken: number;
  /** Work of one prompt: floating-point operations, and what each step costs beside them. */
  readonly flops: number;
}

/**
 * The chain of segments for a prompt of `length` tokens. Errors: `resource_exhausted` with the estimate when the prompt alone
 * takes more memory than a batch may.
 */
export function planPrompt(model: LoadedModel, run: CheckedRun, length: number): PromptPlan {
  const { plan, zeros } = planOf(model, run, bucketOf(length));
  // The scalar's own rows are all that the way back multiplies by W_U.
  const logitRows =
    run.targets?.[0]?.filter(({ hook }) => hook === 'logits').length ??
    run.positions?.length ??
    length;
  const forward = estimateForward(model, plan, { batch: 1, pos: length, logitRows });
  // The log probabilities stand beside the logits.
  const peakBytes = forward.peakBytes + (run.lossPerToken ? 4 * length * model.config.d_vocab : 0);
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
  const key = `${model.digest} ${plan.steps.map((step) => step.key).join(' ')}`;
  const flops = forward.flops + STEP_FLOPS * plan.steps.length;
  return { plan, zeros, key, bytesPerToken: Math.ceil(peakBytes / length), flops };
}

function planOf(
  model: LoadedModel,
  run: CheckedRun,
  pos: number,
): Pick<PromptPlan, 'plan' | 'zeros'> {
  const hooks = run.hooks.map(({ name }) => name);
  const interventions = [...new Set(run.interventions.map(({ hook }) => hook))];
  if (!run.targets) {
    const programs = lossPrograms(run.lossPerToken);
    return { plan: planForward(model, { hooks, interventions, programs, pos }), zeros: [] };
  }
  // All prompts read the same hooks, at positions of their own.
  const targets = [...new Set(run.targets.flat().map(({ hook }) => hook))];
  const plan = planGradient(model, { hooks, targets, interventions, pos });
  return { plan, zeros: plan.zeros };
}

/** Bytes on the wire of one prompt's tensors. */
export function replyBytes(run: CheckedRun, length: number): number {
  const elements = run.hooks.reduce(
    (sum, point) => sum + elementCount(replyShape(run, point, length)),
    run.lossPerToken ? length - 1 : 0,
  );
  return elements * BYTES_PER_ELEMENT[run.dtype];
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
  place: ReplyPlace,
): Tensor {
  const { batchIndex, length } = place;
  const { positions } = run;
  const at = { prompt: batchIndex, length, ...(positions ? { positions } : {}) };
  const own =
    point.name === 'logits'
      ? logitsOf(model, run, value, place)
      : sliceHook(model.config, point.name, value, at);
  checkRange(point, own, run.dtype);
  return asAsked(run, own);
}

/** A prompt's own losses of a batch's output. Errors: those of `checkRange`. */
export function replyLoss(run: CheckedRun, value: Tensor, place: ReplyPlace): Tensor {
  const own = lossOf(value, place.firstRow, place.length);
  checkRange({ name: LOSS_PER_TOKEN, axes: ['pos'] }, own, run.dtype);
  return asAsked(run, own);
}

const asAsked = (run: CheckedRun, own: Tensor): Tensor =>
  run.dtype === 'f32' ? own : tensor('f16', own.shape, narrowF16(own.data as Float32Array));

/** The gradient at a hook that nothing of the target depends on. */
export function zeroReply(run: CheckedRun, point: HookPoint, length: number): Tensor {
  return zeros(run.dtype, replyShape(run, point, length));
}

/** Where a prompt lies in its batch. */
export interface ReplyPlace {
  readonly batchIndex: number;
  readonly length: number;
  /** Of the logits' rows. */
  readonly firstRow: number;
  /** Of all prompts of the batch, where gradients are wanted. */
  readonly targets: PlacedTargets | undefined;
}

function logitsOf(
  { config }: LoadedModel,
  { positions }: CheckedRun,
  value: Tensor,
  { batchIndex, length, firstRow, targets }: ReplyPlace,
): Tensor {
  if (!targets) return rowsOf(value, firstRow, positions?.length ?? length);
  const chosen = positions ?? Array.from({ length }, (_, p) => p);
  return logitGradient(config, value, targets, { prompt: batchIndex, positions: chosen });
}

function rowsOf(value: Tensor, first: number, count: number): Tensor {
  const width = value.shape[1] ?? 1;
  const data = (value.data as Float32Array).slice(first * width, (first + count) * width);
  return tensor('f32', [count, width], data);
}
