import { assert, OperationError } from '@heddle/core';
import {
  ADAM_DEFAULTS,
  AUX,
  type AuxiliarySettings,
  type KSchedule,
  type LearningRate,
  type LorsaSums,
  learningRateAt,
  SILENT_MAX,
  stepFeeds,
  topKAt,
} from '@heddle/interp/lorsa';
import { SAE_STATE, type SaeConfig, type SaeTrainingState } from '@heddle/interp/sae';
import type { Feed, Outputs, Plan, Program, Step } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import type { DataPlace } from '../epoch-order.ts';
import type { Sequences } from '../sequences.ts';

/** A baseline with every number filled in: those of the training that it stands beside. */
export interface SaeSettings {
  readonly config: SaeConfig;
  readonly steps: number;
  readonly batch: number;
  readonly rate: LearningRate;
  readonly topK: KSchedule;
  /** Infinity: no clipping. */
  readonly clipNorm: number;
  /** Undefined: no AuxK. */
  readonly auxiliary: AuxiliarySettings | undefined;
  readonly checkpointSteps: number;
}

/** What some steps came to. */
export interface SaeReport {
  readonly sums: LorsaSums;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly rate: number;
}

const SCALARS = [
  'tokens',
  'error_sum',
  'square_sum',
  'active_sum',
  'loss',
  'gradient_norm',
] as const;
const REPORTED = [...SCALARS, 'total', 'fired'];

/**
 * The next steps as a chain: the first takes the state as feeds, each later one takes it from the step before, inside the
 * engine; the last one hands it back. One batch per step, normalised.
 */
export function planSaeSteps(
  settings: SaeSettings,
  program: Program,
  state: SaeTrainingState,
  batches: readonly Sequences[],
): Plan {
  const first = { ...state.tensors, ...silence(settings, state) };
  const constants = auxiliaryFeeds(settings);
  const steps = batches.map(({ y, valid }, index): Step => {
    const step = state.step + index;
    const carried = Object.entries(first).map(([name, value]): [string, Feed] => {
      return [name, index === 0 ? value : { step: index - 1, output: `next.${name}` }];
    });
    const numbers = stepFeeds({
      topK: topKAt(settings.topK, step),
      rate: learningRateAt(settings.rate, step, settings.steps),
      step: step + 1,
      clipNorm: settings.clipNorm,
      adam: ADAM_DEFAULTS,
    });
    const isLast = index === batches.length - 1;
    return {
      program,
      feeds: {
        ...Object.fromEntries(carried),
        ...constants,
        ...numbers,
        y,
        valid: asFloats(valid),
      },
      keep: isLast ? [...REPORTED, ...SAE_STATE.map((name) => `next.${name}`)] : REPORTED,
    };
  });
  return { steps };
}

/** Tokens since each feature fired, for AuxK. */
function silence(
  { auxiliary, config }: SaeSettings,
  { silentTokens }: SaeTrainingState,
): Record<string, Tensor> {
  if (!auxiliary) return {};
  const silent = Float32Array.from(silentTokens, (tokens) => Math.min(SILENT_MAX, tokens));
  return { [AUX.silent]: tensor('f32', [config.d_sae], silent) };
}

function auxiliaryFeeds({ auxiliary }: SaeSettings): Record<string, Tensor> {
  if (!auxiliary) return {};
  const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
  return {
    [AUX.deadTokens]: scalar(auxiliary.deadTokens),
    [AUX.coefficient]: scalar(auxiliary.coefficient),
    [AUX.topK]: tensor('i64', [1], BigInt64Array.of(BigInt(auxiliary.topK))),
  };
}

const asFloats = (valid: Sequences['valid']): Tensor =>
  tensor('f32', valid.shape, Float32Array.from(valid.data));

/** The state after a plan's steps. Errors: `failed_precondition` when a number overflowed, naming the step. */
export function absorbSaeSteps(
  settings: SaeSettings,
  state: SaeTrainingState,
  place: DataPlace,
  outputs: readonly Outputs[],
): { readonly state: SaeTrainingState; readonly report: SaeReport } {
  const last = outputs.at(-1);
  assert(last, 'a plan without steps');
  const silentTokens = state.silentTokens.slice();
  let [tokens, error, square, active] = [0, 0, 0, 0];
  const total = new Float64Array(settings.config.d_model);
  outputs.forEach((one, index) => {
    requireFinite(one, state.step + index);
    const own = scalar(one, 'tokens');
    tokens += own;
    error += scalar(one, 'error_sum');
    square += scalar(one, 'square_sum');
    active += scalar(one, 'active_sum');
    floats(one, 'total').forEach((value, d) => {
      total[d] = (total[d] ?? 0) + value;
    });
    floats(one, 'fired').forEach((fired, i) => {
      silentTokens[i] = fired > 0 ? 0 : (silentTokens[i] ?? 0) + own;
    });
  });
  const tensors = Object.fromEntries(
    SAE_STATE.map((name) => [name, last[`next.${name}`] as Tensor<'f32'>]),
  );
  const step = state.step + outputs.length;
  return {
    state: { ...state, ...place, step, tensors, silentTokens },
    report: {
      sums: { tokens, error, square, total, active },
      loss: scalar(last, 'loss'),
      gradientNorm: scalar(last, 'gradient_norm'),
      rate: learningRateAt(settings.rate, step - 1, settings.steps),
    },
  };
}

function floats(outputs: Outputs, name: string): Float32Array {
  const t = outputs[name];
  assert(t?.dtype === 'f32', () => `the engine gave no ${name}`);
  return t.data as Float32Array;
}

const scalar = (outputs: Outputs, name: string): number => floats(outputs, name)[0] ?? Number.NaN;

function requireFinite(outputs: Outputs, step: number): void {
  for (const name of ['loss', 'gradient_norm']) {
    const value = scalar(outputs, name);
    if (Number.isFinite(value)) continue;
    throw new OperationError({
      code: 'failed_precondition',
      message: `${name} of the baseline is ${value} at step ${step}: the training's learning rate is too high for it`,
      field: 'checkpoint',
      retryable: false,
      details: { step, tensor: name },
    });
  }
}
