import { assert, OperationError } from '@heddle/core';
import {
  ADAM_DEFAULTS,
  addSums,
  countSilence,
  drawBatch,
  emptySums,
  type LorsaSums,
  type LorsaWeights,
  learningRateAt,
  nextName,
  parameterNames,
  rotaryFeeds,
  stepFeeds,
  type TrainingState,
  toF32,
  topKAt,
} from '@heddle/interp/lorsa';
import type { Feed, Outputs, Plan, Program, Step } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { PLAN_BYTES_MAX, PLAN_STEPS } from './limits.ts';
import type { TrainSettings } from './lorsa-settings.ts';
import { type Sequences, taken } from './training-data.ts';

const SUMS = ['tokens', 'error_sum', 'square_sum', 'total', 'active_sum'] as const;
const REPORTED = ['loss', 'gradient_norm', 'fired', ...SUMS] as const;

/** Some steps as one plan, and where the data stand after each of them. */
export interface PlannedSteps {
  readonly plan: Plan;
  readonly places: readonly Pick<TrainingState, 'cursor' | 'epochRng'>[];
}

/** What some steps came to. */
export interface StepsReport {
  readonly sums: LorsaSums;
  readonly loss: number;
  readonly gradientNorm: number;
  readonly rate: number;
}

/** How many steps go into the next plan: bounded in number and bytes, and never past a checkpoint or the end. */
export function stepsAhead(settings: TrainSettings, state: TrainingState, pos: number): number {
  const stepBytes = settings.batch * pos * settings.config.d_model * 8;
  const toCheckpoint = settings.checkpointSteps - (state.step % settings.checkpointSteps);
  return Math.min(
    PLAN_STEPS,
    Math.max(1, Math.floor(PLAN_BYTES_MAX / stepBytes)),
    toCheckpoint,
    settings.steps - state.step,
  );
}

/**
 * The next `count` steps as a chain: the first takes the state as feeds, each later one takes it from the step before,
 * inside the engine; the last one hands it back. `train` is normalised.
 */
export function planSteps(
  settings: TrainSettings,
  program: Program,
  state: TrainingState,
  train: Sequences,
  count: number,
): PlannedSteps {
  const [sequences = 0, pos = 0] = train.x.shape;
  const stateNames = Object.keys(state.tensors);
  const tables = f32Tables(settings, pos);
  const places: PlannedSteps['places'][number][] = [];
  let place: PlannedSteps['places'][number] = state;
  const steps = Array.from({ length: count }, (_, index): Step => {
    const drawn = drawBatch(sequences, settings.batch, place);
    place = { cursor: drawn.cursor, epochRng: drawn.epochRng };
    places.push(place);
    const step = state.step + index;
    const carried = stateNames.map((name): [string, Feed] => [
      name,
      index === 0 ? (state.tensors[name] as Tensor) : { step: index - 1, output: nextName(name) },
    ]);
    const numbers = stepFeeds({
      topK: topKAt(settings.topK, step),
      rate: learningRateAt(settings.rate, step, settings.steps),
      step: step + 1,
      clipNorm: settings.clipNorm,
      adam: ADAM_DEFAULTS,
    });
    return {
      program,
      feeds: {
        ...Object.fromEntries(carried),
        ...tables,
        ...numbers,
        ...batchFeeds(taken(train, drawn.indices)),
      },
      keep: index === count - 1 ? [...REPORTED, ...stateNames.map(nextName)] : REPORTED,
    };
  });
  return { plan: { steps }, places };
}

/** The state after a plan's steps. Errors: `failed_precondition` when a number overflowed, naming the step. */
export function absorbSteps(
  settings: TrainSettings,
  state: TrainingState,
  places: PlannedSteps['places'],
  outputs: readonly Outputs[],
): { readonly state: TrainingState; readonly report: StepsReport } {
  const last = outputs.at(-1);
  const place = places.at(-1);
  assert(last && place, 'a plan without steps');
  let sums = emptySums(settings.config.d_model);
  let { dead } = state;
  outputs.forEach((one, index) => {
    requireFinite(one, state.step + index);
    const own = sumsOf(one);
    sums = addSums(sums, own);
    dead = countSilence(dead, floats(one, 'fired'), own.tokens);
  });
  const tensors = Object.fromEntries(
    Object.keys(state.tensors).map((name) => [name, last[nextName(name)] as Tensor<'f32'>]),
  );
  const step = state.step + outputs.length;
  return {
    state: { ...state, ...place, step, tensors, dead },
    report: {
      sums,
      loss: number(last, 'loss'),
      gradientNorm: number(last, 'gradient_norm'),
      rate: learningRateAt(settings.rate, step - 1, settings.steps),
    },
  };
}

function requireFinite(outputs: Outputs, step: number): void {
  for (const name of ['loss', 'gradient_norm']) {
    const value = number(outputs, name);
    if (Number.isFinite(value)) continue;
    throw new OperationError({
      code: 'failed_precondition',
      message: `${name} is ${value} at step ${step}: the last checkpoint before it is good; choose a lower learning rate or a clip norm`,
      field: 'optimiser.learning_rate',
      retryable: false,
      details: { step, tensor: name },
    });
  }
}

/** The evaluation of some sequences as a plan of one step. */
export function planEvaluation(
  settings: TrainSettings,
  program: Program,
  weights: LorsaWeights,
  sequences: Sequences,
  keep: readonly string[] = SUMS,
): Plan {
  const [, pos = 0] = sequences.x.shape;
  const parameters = parameterNames(settings.config).map((name) => {
    const value = weights[name];
    assert(value, () => `${name} is missing`);
    return [name, toF32(value)] as const;
  });
  const k = tensor('i64', [1], BigInt64Array.of(BigInt(settings.config.topK)));
  const feeds = {
    ...Object.fromEntries(parameters),
    ...f32Tables(settings, pos),
    ...batchFeeds(sequences),
    k,
  };
  return { steps: [{ program, feeds, keep }] };
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

function batchFeeds({ x, y, valid }: Sequences): Record<string, Tensor> {
  return { x, y, valid: tensor('f32', valid.shape, Float32Array.from(valid.data)) };
}

function f32Tables(settings: TrainSettings, pos: number): Record<string, Tensor> {
  const tables = Object.entries(rotaryFeeds(settings.config, pos));
  return Object.fromEntries(tables.map(([name, t]) => [name, toF32(t)]));
}
