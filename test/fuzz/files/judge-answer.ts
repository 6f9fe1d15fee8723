import { Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import {
  hookPoint,
  hookPoints,
  type Intervention,
  padTokens,
  planForward,
  widen,
} from '@heddle/models';
import type { Engine, LoadedModel } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { difference, interpretPlan, runPlan } from '../../golden/models/golden-model.ts';

/** The parity tests' tolerance in fp32, of max|Δ| / max(1, max|expected|). */
const TOLERANCE = 2e-5;

/**
 * Weights may be anything finite, so that a model can be ill-conditioned: scores of 1e8 turn a rounding into another pattern.
 * fp32 rounds weights, and what it computes between two hook points, to a few times 2⁻²⁴ (sums have up to 72 terms). So the
 * fp64 answers of models whose weights and values at every hook point are off by up to 2⁻²¹ tell how far an honest fp32 answer may
 * lie; eight times their largest distance, because three models are few.
 */
const PERTURBATION = 2 ** -21;
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
  return verdictOf({ model, stored: storedWeights(files), hooks, tokens }, actual);
}

/** A question to a model about one prompt, for the interpreter. */
export interface Question {
  readonly model: LoadedModel;
  /** A weight's stored bytes by its name in the file. */
  readonly stored: (name: string) => Tensor;
  readonly hooks: readonly string[];
  /** [1, pos] */
  readonly tokens: Tensor<'i64'>;
  readonly interventions?: readonly Intervention[];
  /** The part of a hook's value that was asked for, where it is not all of it. */
  readonly cut?: (hook: string, value: Tensor) => Tensor;
}

/** An engine's answer, by hook, against the interpreter's. */
export function verdictOf(
  question: Question,
  actual: ReadonlyMap<string, Tensor>,
  tolerance: number = TOLERANCE,
): Verdict {
  const { hooks } = question;
  const expected = answerOf(question);
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

function answerOf(question: Question): ReadonlyMap<string, Tensor> {
  const { model, stored, hooks, tokens, interventions = [], cut } = question;
  const changed = [...new Set(interventions.map(({ hook }) => hook))];
  const pos = tokens.shape[1] as number;
  const plan = planForward(model, { hooks, interventions: changed, pos });
  const slots = new Set(plan.steps.flatMap(({ request }) => request.interventions));
  const felt = interventions.filter(({ hook }) => slots.has(hook));
  const values = interpretPlan({ model, weight: stored }, plan, { tokens, interventions: felt });
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

/** By hook: how far the answers of models lie whose numbers differ by roundings. */
function sensitivity(
  question: Question,
  expected: ReadonlyMap<string, Tensor>,
): ReadonlyMap<string, number> {
  const rng = new Rng(1);
  const { model, stored, interventions = [] } = question;
  const points = hookPoints(model.config).map(({ name }) => name);
  const { cut: _, ...whole } = question;
  const everywhere = answerOf({ ...whole, hooks: points });
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
    const other = answerOf({
      ...question,
      model: { ...model, weights },
      stored: weight,
      interventions: [...interventions, ...roundings(rng, model, everywhere)],
    });
    for (const [hook, value] of expected) {
      const { error } = difference(at(other, hook), value);
      allowed.set(hook, Math.max(allowed.get(hook) ?? 0, SENSITIVITY_FACTOR * error));
    }
  }
  return allowed;
}

/** Every weight off by a random part of ±2⁻²¹ of itself. */
function jitter(rng: Rng, { shape, data }: Tensor<'f32'>): Tensor<'f32'> {
  const off = data.map((x) => x * (1 + PERTURBATION * (2 * rng.uniform() - 1)));
  return tensor('f32', shape, off);
}

/** At every hook point, what a rounding would add: a random part of ±2⁻²¹ of the value there. */
function roundings(
  rng: Rng,
  { config }: LoadedModel,
  values: ReadonlyMap<string, Tensor>,
): readonly Intervention[] {
  const changeable = [...values].filter(([hook]) => hook !== 'logits');
  return changeable.map(([hook, { shape, data }]) => {
    const headFirst = hookPoint(config, hook).axes[0] === 'head';
    const [, first = 1, second = 1] = shape;
    const width = shape.at(-1) as number;
    const off = Float64Array.from(data as Float64Array, (x) =>
      Number.isFinite(x) ? x * PERTURBATION * (2 * rng.uniform() - 1) : 0,
    );
    if (!headFirst)
      return { prompt: 0, hook, kind: 'add', value: tensor('f64', shape.slice(1), off) };
    // [head, query_pos, key_pos] → [query_pos, head, key_pos], the order in which values of interventions are read.
    const byPosition = off.map((_, i) => {
      const [position, head, j] = [
        Math.floor(i / width / first),
        Math.floor(i / width) % first,
        i % width,
      ];
      return off[(head * second + position) * width + j] as number;
    });
    const value = tensor('f64', [second, first, width], byPosition);
    return { prompt: 0, hook, kind: 'add', value };
  });
}
