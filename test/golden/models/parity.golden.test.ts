/** Every hook point of every golden model against HuggingFace transformers, in the fp64 interpreter and in ONNX Runtime. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { hookPoints, padTokens, planForward, sliceHook } from '@heddle/models';
import type { Engine } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import {
  difference,
  GOLDEN_MODELS,
  type GoldenModel,
  interpretPlan,
  openGolden,
  runPlan,
} from './golden-model.ts';

const TOLERANCE_FP64 = 1e-10;
const TOLERANCE_FP32 = 2e-5;

let engine: Engine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

/** Largest error by hook (layers together) and model: fp64, fp32. */
const table = new Map<string, Map<string, readonly [number, number]>>();

function hooksOf({ model }: GoldenModel): readonly string[] {
  return hookPoints(model.config).map(({ name }) => name);
}

/** Values by prompt, without batch axis and padding. */
function unbatch(
  golden: GoldenModel,
  values: Map<string, Tensor>,
  batched: boolean,
  prompt: number,
) {
  const { config } = golden.model;
  const pos = Math.max(...golden.prompts.map(({ tokens }) => tokens.length));
  const length = golden.prompts[prompt]?.tokens.length ?? 0;
  return (hook: string): Tensor => {
    const value = values.get(hook) as Tensor;
    const rows = batched ? pos : length;
    const batch = batched ? golden.prompts.length : 1;
    const shaped =
      hook === 'logits' ? { ...value, shape: [batch, rows, value.shape[1] as number] } : value;
    return sliceHook(config, hook, shaped, { prompt: batched ? prompt : 0, length });
  };
}

function record(model: string, hook: string, which: 0 | 1, error: number): void {
  const name = hook.replace(/^blocks\.\d+\./, 'blocks.L.');
  const row = table.get(name) ?? new Map<string, readonly [number, number]>();
  const known = row.get(model) ?? [0, 0];
  row.set(
    model,
    which === 0 ? [Math.max(known[0], error), known[1]] : [known[0], Math.max(known[1], error)],
  );
  table.set(name, row);
}

function compare(
  golden: GoldenModel,
  values: Map<string, Tensor>,
  which: 0 | 1,
  prompt: number,
): void {
  const tolerance = which === 0 ? TOLERANCE_FP64 : TOLERANCE_FP32;
  const at = unbatch(golden, values, which === 1, prompt);
  for (const hook of hooksOf(golden)) {
    const expected = golden.prompts[prompt]?.values.get(hook);
    assert.ok(expected, `${golden.name}: no golden value for hook ${hook}; run make.py`);
    const { error, text } = difference(at(hook), expected);
    record(golden.name, hook, which, error);
    assert.ok(error <= tolerance, `${golden.name} p${prompt} ${hook}: error ${error}; ${text}`);
  }
}

for (const name of GOLDEN_MODELS) {
  test(`${name}: every hook point equals transformers in fp64 and in fp32`, async () => {
    const golden = await openGolden(name);
    const { model, prompts } = golden;
    const plan = planForward(model, { hooks: hooksOf(golden) });

    prompts.forEach(({ tokens }, i) => {
      compare(
        golden,
        interpretPlan(golden, plan, { tokens: padTokens(model.config, [tokens]) }),
        0,
        i,
      );
    });
    const padded = padTokens(
      model.config,
      prompts.map(({ tokens }) => tokens),
    );
    const values = await runPlan(engine, model, plan, { tokens: padded });
    prompts.forEach((_, i) => {
      compare(golden, values, 1, i);
    });

    const known = new Set(hooksOf(golden));
    for (const { values: expected } of prompts) {
      for (const hook of expected.keys()) assert.ok(known.has(hook), `${name} lacks ${hook}`);
    }
  });
}

test('attention in query blocks agrees with transformers in fp32', async () => {
  for (const name of ['gpt2', 'llama3', 'neox-parallel']) {
    const golden = await openGolden(name);
    const { model, prompts } = golden;
    const hooks = hooksOf(golden).filter((hook) => !/attn_scores|pattern/.test(hook));
    const plan = planForward(model, { hooks });
    const steps = plan.steps.map((step) =>
      step.segment.kind === 'block'
        ? { ...step, request: { ...step.request, queryBlocks: 2 } }
        : step,
    );
    const tokens = padTokens(
      model.config,
      prompts.map((prompt) => prompt.tokens),
    );

    const values = await runPlan(engine, model, { ...plan, steps }, { tokens });

    prompts.forEach((prompt, i) => {
      const at = unbatch(golden, values, true, i);
      for (const hook of hooks) {
        const { error, text } = difference(at(hook), prompt.values.get(hook) as Tensor);
        assert.ok(error <= TOLERANCE_FP32, `${name} ${hook}: ${text}`);
      }
    });
  }
});

test('ONNX Runtime agrees with the interpreter from one token to the longest prompt', async () => {
  for (const name of GOLDEN_MODELS) {
    const golden = await openGolden(name);
    const { config } = golden.model;
    const plan = planForward(golden.model, { hooks: hooksOf(golden) });
    for (const length of [1, 2, config.n_ctx]) {
      const prompt = Array.from({ length }, (_, i) => (7 * i + 3) % config.d_vocab);
      const inputs = { tokens: padTokens(config, [prompt]) };

      const [exact, values] = [
        interpretPlan(golden, plan, inputs),
        await runPlan(engine, golden.model, plan, inputs),
      ];

      for (const [hook, expected] of exact) {
        const { error, text } = difference(values.get(hook) as Tensor, expected);
        assert.ok(error <= TOLERANCE_FP32, `${name}, ${length} tokens, ${hook}: ${text}`);
      }
    }
  }
});

after(() => {
  const short = (x: number) => (x === 0 ? '0' : x.toExponential(0));
  const rows = [...table].map(([hook, row]) => {
    const cells = GOLDEN_MODELS.map((model) => {
      const errors = row.get(model);
      return errors ? `${short(errors[0])}/${short(errors[1])}` : '–';
    });
    return [hook, ...cells];
  });
  const head = ['largest error fp64/fp32', ...GOLDEN_MODELS];
  const widths = head.map((title, i) =>
    Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)),
  );
  for (const row of [head, ...rows]) {
    console.log(row.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join('  '));
  }
});
