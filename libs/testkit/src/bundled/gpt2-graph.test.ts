import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { GraphBuilder, interpret } from '@heddle/onnx';
import { tensor } from '@heddle/tensor';
import { buildGpt2, flatParametersInput } from './gpt2-graph.ts';
import { MeasuredModel } from './measured-model.ts';
import { configJson, modelFile } from './model-files.ts';
import { initialParameters } from './parameters.ts';
import { positionsOf } from './training-step.ts';

const SIZES = { d_vocab: 17, n_ctx: 8, d_model: 12, d_mlp: 20, n_layers: 2, n_heads: 3 };

test('what training computes is what the written files compute in the segments of @heddle/models', async () => {
  const rng = new Rng(3);
  const values = initialParameters(SIZES, 1).map((x) => x + 0.3 * rng.normal());
  const parameters = tensor('f32', [values.length], values);
  const prompts = [1, 2].map(() => Array.from({ length: 7 }, () => rng.below(SIZES.d_vocab)));
  const g = new GraphBuilder('gpt2');
  const logits = buildGpt2(g, SIZES, {
    parameters: flatParametersInput(g, 'parameters', SIZES),
    tokens: g.input('tokens', 'i64', ['batch', 'pos']),
    positions: g.input('positions', 'i64', ['batch', 'pos']),
  });
  g.output('logits', logits);
  const tokens = tensor('i64', [2, 7], BigInt64Array.from(prompts.flat(), BigInt));
  const expected = interpret(g.build(), { parameters, tokens, positions: positionsOf(2, 7) });

  const folder = mkdtempSync(join(tmpdir(), 'heddle-bundled-'));
  const engine = await OrtEngine.start({ threads: 1 });
  try {
    writeFileSync(join(folder, 'config.json'), JSON.stringify(configJson(SIZES, 16)));
    writeFileSync(join(folder, 'model.safetensors'), modelFile(SIZES, parameters));
    const model = await MeasuredModel.open(engine, folder);
    const got = (await model.run(prompts, ['logits'])).get('logits')!.data;
    const want = expected['logits']!.data as Float64Array;

    assert.equal(got.length, want.length);
    const scale = want.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
    const off = want.reduce((most, x, i) => Math.max(most, Math.abs(x - got[i]!)), 0);
    assert.ok(off / scale < 2e-5, `off by ${off} of ${scale}`);
  } finally {
    await engine.close();
    rmSync(folder, { recursive: true });
  }
});
