import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadModel, openModelFolder, programOf } from '@heddle/adapters/hub';
import { parseSafetensorsHeader, readSafetensors } from '@heddle/formats';
import {
  buildSegment,
  type ForwardInputs,
  type ForwardPlan,
  rotaryTables,
  stepFeeds,
} from '@heddle/models';
import { interpret } from '@heddle/onnx';
import type { Engine, LoadedModel, Plan, Step } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';

export const GOLDEN = import.meta.dirname;

export const GOLDEN_MODELS = [
  'gpt2',
  'gpt2-scaled',
  'gpt2-unscaled',
  'neox-parallel',
  'neox-serial',
  'neox-nobias',
  'llama2',
  'llama3',
  'llama-headdim',
  'llama-bias',
  'llama-yarn',
  'qwen2',
  'qwen3',
] as const;

/** A golden model: loaded by us, its values computed by transformers. */
export interface GoldenModel {
  readonly name: string;
  readonly model: LoadedModel;
  readonly prompts: readonly {
    readonly tokens: readonly number[];
    readonly values: Map<string, Tensor>;
  }[];
  /** A weight's stored bytes by its name in the file. */
  readonly weight: (name: string) => Tensor;
}

export async function openGolden(name: string): Promise<GoldenModel> {
  const folder = join(GOLDEN, name);
  const model = await loadModel(await openModelFolder(folder));
  const golden = readSafetensors(
    'values.safetensors',
    readFileSync(join(folder, 'values.safetensors')),
  );
  const header = JSON.parse(golden.header.metadata.get('golden') ?? '{}') as {
    format?: string;
    remake?: string;
  };
  if (header.format !== 'heddle.golden.v1') {
    throw new Error(
      `${folder} has values of another format; run python test/golden/models/make.py`,
    );
  }
  const prompts = [0, 1].map((i) => {
    const names = golden.names().filter((key) => key.startsWith(`p${i}/`));
    const values = new Map(names.map((key) => [key.slice(3), golden.tensor(key)]));
    const tokens = Array.from((values.get('tokens') as Tensor<'i64'>).data, Number);
    values.delete('tokens');
    return { tokens, values };
  });
  const files = new Map(
    [...model.fileNames.keys()].map((file) => [file, readFileSync(join(folder, file))]),
  );
  const readers = [...files].map(([file, bytes]) => {
    parseSafetensorsHeader(file, bytes, bytes.length);
    return readSafetensors(file, bytes);
  });
  const weight = (stored: string) => {
    const reader = readers.find((one) => one.header.tensors.has(stored));
    if (!reader) throw new Error(`${name}: no tensor ${stored}`);
    return reader.tensor(stored);
  };
  return { name, model, prompts, weight };
}

/** Runs a plan in the fp64 interpreter; every hook's value with its batch axis. */
export function interpretPlan(
  { model, weight }: Pick<GoldenModel, 'model' | 'weight'>,
  plan: ForwardPlan,
  inputs: ForwardInputs,
): Map<string, Tensor> {
  const results: Record<string, Tensor>[] = [];
  const feeds = stepFeeds(model, plan, inputs);
  const { positions } = model.config;
  plan.steps.forEach(({ segment, request }, step) => {
    const graph = buildSegment(model, segment, request);
    const given = Object.entries(feeds[step] ?? {}).map(([name, feed]) => {
      if (!('step' in feed)) return [name, feed] as const;
      return [name, results[feed.step]?.[feed.output] as Tensor] as const;
    });
    const fed: Record<string, Tensor> = Object.fromEntries(given);
    if (positions.kind === 'rotary' && segment.kind === 'block') {
      const tables = rotaryTables(positions, inputs.tokens.shape[1] as number);
      Object.assign(fed, { rotary_cos: tables.cos, rotary_sin: tables.sin });
    }
    results.push(interpret(graph, fed, { weights: weight }));
  });
  return new Map(
    [...plan.outputs].map(([hook, { step, output }]) => [hook, results[step]?.[output] as Tensor]),
  );
}

/** Runs a plan through an engine; every hook's value with its batch axis. */
export async function runPlan(
  engine: Engine,
  model: LoadedModel,
  plan: ForwardPlan,
  inputs: ForwardInputs,
): Promise<Map<string, Tensor>> {
  const feeds = stepFeeds(model, plan, inputs);
  const steps = plan.steps.map(({ segment, request }, i): Step => {
    const keep = new Set(
      [...plan.outputs.values()].filter(({ step }) => step === i).map(({ output }) => output),
    );
    return {
      program: programOf(model, buildSegment(model, segment, request)),
      feeds: feeds[i] ?? {},
      keep: [...keep],
    };
  });
  const results = await engine.run({ steps } satisfies Plan);
  return new Map(
    [...plan.outputs].map(([hook, { step, output }]) => [hook, results[step]?.[output] as Tensor]),
  );
}

export interface Difference {
  /** max|Δ| / max(1, max|expected|). */
  readonly error: number;
  readonly text: string;
}

/** Compares a value with its golden one; infinities must stand in the same places. */
export function difference(actual: Tensor, expected: Tensor): Difference {
  const [a, e] = [actual.data as Float64Array, expected.data as Float64Array];
  if (actual.shape.join() !== expected.shape.join()) {
    return { error: Infinity, text: `shape [${actual.shape}], expected [${expected.shape}]` };
  }
  let [largest, scale, at] = [0, 1, -1];
  for (let i = 0; i < e.length; i++) {
    const [x, y] = [a[i] as number, e[i] as number];
    const delta = x === y ? 0 : Math.abs(x - y);
    if (Number.isFinite(y)) scale = Math.max(scale, Math.abs(y));
    if (!(delta <= largest)) [largest, at] = [Number.isNaN(delta) ? Infinity : delta, i];
  }
  const pairs = [...e.slice(Math.max(0, at), at + 5)].map((y, i) => `${a[at + i]} for ${y}`);
  return {
    error: largest / scale,
    text: `shape [${e.length}], largest at ${at}: ${pairs.join(', ')}; max |Δ| ${largest}`,
  };
}
