import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel, openModelFolder } from '@heddle/adapters/hub';
import {
  hookPoint,
  type Intervention,
  type ModelConfig,
  padTokens,
  resolveHooks,
  sliceHook,
} from '@heddle/models';
import { fromInline, type LoadedModel, TensorCollector } from '@heddle/ports';
import type {
  Intervention as InterventionMessage,
  RunRequest,
  RunResponse,
} from '@heddle/ports/proto/activation';
import { elementCount, type Tensor, tensor, widenF16 } from '@heddle/tensor';
import { storedWeights, type Verdict, verdictOf } from '../files/judge-answer.ts';

const GOLDEN = join(import.meta.dirname, '../../golden/models');

/** fp32 as in the parity tests; halves round to 2⁻¹¹ of themselves. */
const TOLERANCE = { f32: 2e-5, f16: 2 ** -10 };

/** Numbers of a request whose product is larger may leave the range of fp32 (or of fp16) somewhere inside. */
const FACTORS_MAX = { f32: 1e15, f16: 100 };

interface OracleModel {
  readonly model: LoadedModel;
  readonly stored: (name: string) => Tensor;
}

/** Knows what the tiny models answer, by the fp64 interpreter, one prompt at a time. */
export class RunOracle {
  private readonly models: ReadonlyMap<string, OracleModel>;

  private constructor(models: ReadonlyMap<string, OracleModel>) {
    this.models = models;
  }

  static async open(names: readonly string[]): Promise<RunOracle> {
    const models = new Map<string, OracleModel>();
    for (const name of names) {
      const folder = join(GOLDEN, name);
      const files = readdirSync(folder).filter((file) => /^model.*safetensors$/.test(file));
      const bytes = files.map((file) => [file, readFileSync(join(folder, file))] as const);
      const model = await loadModel(await openModelFolder(folder));
      models.set(name, { model, stored: storedWeights(new Map(bytes)) });
    }
    return new RunOracle(models);
  }

  /** Compares a whole reply; undefined when the model is none that this oracle knows. */
  judge(request: RunRequest, parts: readonly RunResponse[]): Verdict | undefined {
    const known = this.models.get(request.model);
    if (!known) return undefined;
    const values = tensorsOf(parts);
    const half = request.dtype === 'ELEMENT_TYPE_F16' ? 'f16' : 'f32';
    const wild = sizeOf(request) > FACTORS_MAX[half];
    const verdicts = request.prompts.map((prompt, i) => {
      // Text prompts are judged by the tokens that the server says it read.
      const said = parts.find(({ start }) => start)?.start?.prompts[i]?.tokens?.ids;
      const tokens = prompt.tokens?.ids ?? said ?? [];
      return judgePrompt(known, request, { index: i, tokens }, values);
    });
    const worst = verdicts.reduce((a, b) => (b.error > a.error ? b : a));
    const wrong = verdicts.find(({ kind }) => kind === 'wrong');
    if (wrong && wild && wrong.error < Infinity) return { kind: 'beyond fp32', error: wrong.error };
    return wrong ?? worst;
  }
}

type Values = ReadonlyMap<string, Tensor>;

function tensorsOf(parts: readonly RunResponse[]): Values {
  const collector = new TensorCollector(2 ** 30);
  const values = new Map<string, Tensor>();
  for (const part of parts) {
    const done = collector.add(part);
    if (done) values.set(`${done.label.prompt}/${done.label.name}`, widened(done.tensor));
  }
  collector.end();
  return values;
}

const widened = (t: Tensor): Tensor =>
  t.dtype === 'f16' ? tensor('f32', t.shape, widenF16(t.data as Uint16Array)) : t;

function judgePrompt(
  { model, stored }: OracleModel,
  request: RunRequest,
  prompt: { readonly index: number; readonly tokens: readonly number[] },
  values: Values,
): Verdict {
  const { config } = model;
  const { index, tokens } = prompt;
  const hooks = resolveHooks(config, request.hooks);
  const interventions = request.interventions
    .filter(({ prompts }) => prompts.length === 0 || prompts.includes(index))
    .map((message) => laidOut(config, message, tokens.length));
  const positions = request.positions.length > 0 ? { positions: request.positions } : {};
  const cut = (hook: string, value: Tensor): Tensor => {
    const [rows = 0, width = 0] = value.shape;
    const whole = hook === 'logits' ? { ...value, shape: [1, rows, width] } : value;
    return sliceHook(config, hook, whole, { prompt: 0, length: tokens.length, ...positions });
  };
  const actual = new Map<string, Tensor>();
  for (const hook of hooks) {
    const value = values.get(`${index}/${hook}`);
    if (!value) return { kind: 'wrong', error: Infinity, text: `prompt ${index}: no ${hook}` };
    const masked = hookPoint(config, hook).axes.includes('key_pos');
    const bad = (value.data as Float32Array).find(
      (x) => !Number.isFinite(x) && !(masked && x === -Infinity),
    );
    if (bad !== undefined) {
      return { kind: 'wrong', error: Infinity, text: `prompt ${index}: ${hook} holds ${bad}` };
    }
    actual.set(hook, value);
  }
  const tolerance = TOLERANCE[request.dtype === 'ELEMENT_TYPE_F16' ? 'f16' : 'f32'];
  const asked = padTokens(config, [tokens]);
  return verdictOf({ model, stored, hooks, tokens: asked, interventions, cut }, actual, tolerance);
}

/** An intervention with its value written out for every chosen [position, head, last axis], by the rule of broadcasting. */
function laidOut(
  config: ModelConfig,
  { hook, kind, positions, heads, value, factor }: InterventionMessage,
  length: number,
): Intervention {
  const [name = hook] = resolveHooks(config, [hook]);
  const { axes, shape } = hookPoint(config, name);
  const headAxis = axes.findIndex((axis) => axis === 'head' || axis === 'kv_head');
  const chosen = positions.length > 0 ? positions : Array.from({ length }, (_, i) => i);
  const headCount = headAxis < 0 ? 1 : (shape[headAxis] as number);
  const chosenHeads = heads.length > 0 ? heads : Array.from({ length: headCount }, (_, i) => i);
  const last = shape.at(-1) as number | 'pos';
  const width = last === 'pos' ? length : last;
  const words = kind.replace('INTERVENTION_KIND_', '').toLowerCase() as Intervention['kind'];
  const change = {
    prompt: 0,
    hook: name,
    kind: words,
    positions: chosen,
    ...(headAxis < 0 ? {} : { heads: chosenHeads }),
    factor: Math.fround(factor),
  };
  if (value === null || words === 'scale' || words === 'zero') return change;
  const given = fromInline(value, 'value') as Tensor<'f32'>;
  const out: number[] = [];
  for (let p = 0; p < chosen.length; p++) {
    for (let h = 0; h < chosenHeads.length; h++) {
      for (let j = 0; j < width; j++) {
        const index = axes.map((_, i) => (i === axes.length - 1 ? j : i === headAxis ? h : p));
        out.push(elementAt(given, index));
      }
    }
  }
  const laid = [chosen.length, chosenHeads.length, width];
  return { ...change, value: tensor('f32', laid, Float32Array.from(out)) };
}

function elementAt({ shape, data }: Tensor<'f32'>, index: readonly number[]): number {
  const own = index.slice(index.length - shape.length);
  const offset = own.reduce((sum, i, axis) => {
    return sum + (shape[axis] === 1 ? 0 : i) * elementCount(shape.slice(axis + 1));
  }, 0);
  return data[offset] as number;
}

/** Product of the sizes of all numbers that a request brings in. */
function sizeOf(request: RunRequest): number {
  return request.interventions.reduce((product, { factor, value, kind }) => {
    const scaled = kind === 'INTERVENTION_KIND_SCALE' ? Math.abs(factor) : 1;
    const valued = kind === 'INTERVENTION_KIND_ADD' || kind === 'INTERVENTION_KIND_REPLACE';
    const given = valued && value ? fromInline(value, 'value').data : new Float32Array();
    const largest = (given as Float32Array).reduce((most, x) => Math.max(most, Math.abs(x)), 1);
    return product * Math.max(1, scaled) * largest;
  }, 1);
}
