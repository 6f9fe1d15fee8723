import { createHash } from 'node:crypto';
import { assert, present } from '@heddle/core';
import type { Engine, Program } from '@heddle/ports';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import type { BpeEncoder } from './bpe.ts';
import { type Batch, trainingBatch } from './corpus.ts';
import { gpt2Parameters, initialParameters } from './parameters.ts';
import { phaseAt, type Recipe, rateAt, rowsAt } from './recipe.ts';

/** All that training is, between two steps: with the recipe it determines everything that follows. */
export interface TrainingState {
  /** Steps done. The text of step n follows from the recipe's seed and n, so this is the data's cursor too. */
  readonly step: number;
  readonly parameters: Tensor<'f32'>;
  /** Adam's running means of the gradient and of its square. */
  readonly m: Tensor<'f32'>;
  readonly v: Tensor<'f32'>;
}

export function initialState(recipe: Recipe, d_vocab: number): TrainingState {
  const values = initialParameters({ ...recipe.sizes, d_vocab }, recipe.seed);
  const shape = [values.length];
  return {
    step: 0,
    parameters: tensor('f32', shape, values),
    m: zeros('f32', shape),
    v: zeros('f32', shape),
  };
}

export function programOf(bytes: Uint8Array): Program {
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { digest, bytes, weightsDirectory: undefined, residentBytes: 0 };
}

export interface StepResult {
  readonly state: TrainingState;
  readonly loss: number;
  readonly gradientNorm: number;
}

export interface StepInputs {
  readonly recipe: Recipe;
  readonly encoder: BpeEncoder;
  readonly state: TrainingState;
}

/** One step of training: draws the step's text, runs the graph, hands back the next state. */
export async function trainOneStep(
  engine: Engine,
  program: Program,
  from: StepInputs,
): Promise<StepResult> {
  const { recipe, encoder, state } = from;
  const batch = batchOf(recipe, encoder, state.step);
  const keep = ['parameters_next', 'm_next', 'v_next', 'loss', 'gradient_norm'];
  const feeds = stepFeeds(from, batch);
  const [outputs] = await engine.run({ steps: [{ program, feeds, keep }] });
  const output = (name: string): Tensor<'f32'> => {
    const value = outputs?.[name];
    assert(value?.dtype === 'f32', () => `the step handed back no ${name}`);
    return value as Tensor<'f32'>;
  };
  const loss = output('loss').data[0]!;
  assert(Number.isFinite(loss), () => `step ${state.step}: the loss is ${loss}`);
  return {
    loss,
    gradientNorm: output('gradient_norm').data[0]!,
    state: {
      step: state.step + 1,
      parameters: output('parameters_next'),
      m: output('m_next'),
      v: output('v_next'),
    },
  };
}

function batchOf(recipe: Recipe, encoder: BpeEncoder, step: number): Batch {
  const { mixture } = phaseAt(recipe, step);
  const { n_ctx } = recipe.sizes;
  return trainingBatch(encoder, mixture, {
    seed: recipe.seed,
    step,
    n_ctx,
    ...rowsAt(recipe, step),
  });
}

/** Positions 0, 1, … of every row, i64 `[batch, pos]`. */
export function positionsOf(batch: number, pos: number): Tensor<'i64'> {
  return tensor('i64', [batch, pos], whole(Array.from({ length: batch * pos }, (_, i) => i % pos)));
}

function stepFeeds(from: StepInputs, batch: Batch): Record<string, Tensor> {
  const { recipe, state } = from;
  const shape = [batch.batch, batch.pos];
  const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
  const t = state.step + 1;
  return {
    parameters: state.parameters,
    m: state.m,
    v: state.v,
    trainable: trainableAt(from),
    tokens: tensor('i64', shape, whole(batch.tokens)),
    positions: tensor('i64', shape, whole(batch.positions)),
    targets: tensor('i64', shape, whole(batch.targets)),
    weights: tensor('f32', shape, batch.weights),
    rate: scalar(rateAt(recipe, state.step)),
    beta1: scalar(recipe.beta1),
    beta2: scalar(recipe.beta2),
    correction1: scalar(1 - recipe.beta1 ** t),
    correction2: scalar(1 - recipe.beta2 ** t),
    epsilon: scalar(recipe.epsilon),
    clip: scalar(recipe.clip),
  };
}

/** 1 for each parameter that this step may change. */
function trainableAt({ recipe, encoder, state }: StepInputs): Tensor<'f32'> {
  const { shape } = state.parameters;
  const mask = new Float32Array(state.parameters.data.length);
  const { onlyPositionsFrom } = phaseAt(recipe, state.step);
  if (onlyPositionsFrom === undefined) return tensor('f32', shape, mask.fill(1));
  const { n_ctx, d_model } = recipe.sizes;
  const all = gpt2Parameters({ ...recipe.sizes, d_vocab: encoder.d_vocab });
  const { offset } = present(
    all.find(({ name }) => name === 'wpe.weight'),
    'wpe.weight',
  );
  mask.fill(1, offset + onlyPositionsFrom * d_model, offset + n_ctx * d_model);
  return tensor('f32', shape, mask);
}

function whole(values: ArrayLike<number>): BigInt64Array {
  return BigInt64Array.from(values, BigInt);
}
