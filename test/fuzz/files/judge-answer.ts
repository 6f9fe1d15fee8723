import type { LoadedModel } from '@heddle/adapters/hub';
import { Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import {
  type ForwardInputs,
  type ForwardPlan,
  hookPoints,
  padTokens,
  planForward,
  widen,
} from '@heddle/models';
import type { Engine } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { difference, interpretPlan, runPlan } from '../../golden/models/golden-model.ts';

/** The parity tests' tolerance in fp32, of max|Δ| / max(1, max|expected|). */
const TOLERANCE = 2e-5;

/**
 * Weights may be anything finite, so that a model can be ill-conditioned: scores of 1e8 turn a rounding into another pattern.
 * fp32 computes the exact answer of a model whose weights differ by a few roundings (2⁻²⁴ each, sums of up to 72 terms); so the
 * fp64 answers of models whose weights are off by up to 2⁻²⁰ tell how far an honest fp32 answer may lie. Eight times their largest
 * distance, because three models are few and a fp32 sum rounds at every term.
 */
const PERTURBATION = 2 ** -20;
const PERTURBED_MODELS = 3;
const SENSITIVITY_FACTOR = 8;

/** Above it, sums of squares (of norms) and products of two activations can leave fp32, whose largest number is 3.4e38. */
const FP32_SQUARES_MAX = 1e17;

export type Verdict =
  | { readonly kind: 'equal'; readonly error: number }
  /** Equal within what fp32 can know of so wild a model. */
  | { readonly kind: 'equal, ill-conditioned'; readonly error: number }
  /** The model's values leave the range of fp32. */
  | { readonly kind: 'beyond fp32'; readonly error: number }
  | { readonly kind: 'wrong'; readonly error: number; readonly text: string };

/** Runs all hooks of a short prompt in the engine and in the fp64 interpreter. */
export async function judgeAnswer(
  engine: Engine,
  model: LoadedModel,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<Verdict> {
  const { d_vocab, n_ctx } = model.config;
  const prompt = [1, 7, 3, 7, 11].slice(0, n_ctx).map((token) => token % d_vocab);
  const tokens = padTokens(model.config, [prompt]);
  const hooks = hookPoints(model.config).map(({ name }) => name);
  const plan = planForward(model, { hooks });
  const actual = await runPlan(engine, model, plan, { tokens });
  return verdictOf({ model, stored: storedWeights(files), plan, inputs: { tokens } }, actual);
}

/** A question to a model, for the interpreter. */
export interface Question {
  readonly model: LoadedModel;
  /** A weight's stored bytes by its name in the file. */
  readonly stored: (name: string) => Tensor;
  readonly plan: ForwardPlan;
  readonly inputs: ForwardInputs;
  /** The part of a hook's value that was asked for, where it is not all of it. */
  readonly cut?: (hook: string, value: Tensor) => Tensor;
}

/** An engine's answer, by hook, against the interpreter's. */
export function verdictOf(
  question: Question,
  actual: ReadonlyMap<string, Tensor>,
  tolerance: number = TOLERANCE,
): Verdict {
  const hooks = [...question.plan.outputs.keys()];
  const expected = answerOf(question, question.model, question.stored);
  const errors = hooks.map((hook) => difference(at(actual, hook), at(expected, hook)));
  const { error } = errors.reduce((a, b) => (b.error > a.error ? b : a));
  if (error <= tolerance) return { kind: 'equal', error };
  if (leavesRange(expected)) return { kind: 'beyond fp32', error };
  const allowed = sensitivity(question, expected);
  const bad = hooks.findIndex(
    (hook, i) => !((errors[i]?.error ?? 0) <= tolerance + (allowed.get(hook) ?? 0)),
  );
  if (bad < 0) return { kind: 'equal, ill-conditioned', error };
  const text = `${hooks[bad]}: error ${errors[bad]?.error}, allowed ${allowed.get(hooks[bad] ?? '')}; ${errors[bad]?.text}`;
  return { kind: 'wrong', error, text };
}

function answerOf(
  { plan, inputs, cut }: Question,
  model: LoadedModel,
  weight: (name: string) => Tensor,
): ReadonlyMap<string, Tensor> {
  const values = interpretPlan({ model, weight }, plan, inputs);
  if (!cut) return values;
  return new Map([...values].map(([hook, value]) => [hook, cut(hook, value)]));
}

const at = (values: ReadonlyMap<string, Tensor>, hook: string): Tensor => {
  const value = values.get(hook);
  if (value === undefined) throw new Error(`no value for ${hook}`);
  return value;
};

/** Weights by name out of the bytes of a model's files. */
export function storedWeights(files: ReadonlyMap<string, Uint8Array>): (name: string) => Tensor {
  const readers = [...files]
    .filter(([name]) => name.endsWith('.safetensors'))
    .map(([name, bytes]) => readSafetensors(name, bytes));
  return (name) => {
    const reader = readers.find(({ header }) => header.tensors.has(name));
    if (!reader) throw new Error(`no tensor ${name}`);
    return reader.tensor(name);
  };
}

function leavesRange(values: ReadonlyMap<string, Tensor>): boolean {
  for (const [hook, { data }] of values) {
    for (const x of data as Float64Array) {
      if (Math.abs(x) > FP32_SQUARES_MAX && !(x === -Infinity && hook.endsWith('attn_scores'))) {
        return true;
      }
    }
  }
  return false;
}

/** By hook: how far the answers of models lie whose weights differ by roundings. */
function sensitivity(
  question: Question,
  expected: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, number> {
  const rng = new Rng(1);
  const { model, stored } = question;
  const weights = new Map(
    [...model.weights].map(([role, w]) => [role, { ...w, dtype: 'f32' as const }]),
  );
  const allowed = new Map<string, number>();
  for (let i = 0; i < PERTURBED_MODELS; i++) {
    const perturbed = new Map<string, Tensor>();
    const weight = (name: string): Tensor => {
      const known = perturbed.get(name) ?? jitter(rng, widen(stored(name)));
      perturbed.set(name, known);
      return known;
    };
    const other = answerOf(question, { ...model, weights }, weight);
    for (const [hook, value] of expected) {
      const { error } = difference(at(other, hook), value);
      allowed.set(hook, Math.max(allowed.get(hook) ?? 0, SENSITIVITY_FACTOR * error));
    }
  }
  return allowed;
}

/** Every weight off by a random part of ±2⁻²⁰ of itself. */
function jitter(rng: Rng, { shape, data }: Tensor<'f32'>): Tensor<'f32'> {
  const off = data.map((x) => x * (1 + PERTURBATION * (2 * rng.uniform() - 1)));
  return tensor('f32', shape, off);
}
