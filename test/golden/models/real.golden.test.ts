/** A real checkpoint, named by HEDDLE_REAL_MODEL, against values that transformers gave in float64. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream, existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadModel, openModelFolder } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { readSafetensors } from '@heddle/formats';
import { padTokens, planForward } from '@heddle/models';
import { type Tensor, tensor } from '@heddle/tensor';
import { difference, GOLDEN, runPlan } from './golden-model.ts';

const TOLERANCE = 2e-4;
const folder = process.env['HEDDLE_REAL_MODEL'];
const golden = readSafetensors('real.safetensors', readFileSync(join(GOLDEN, 'real.safetensors')));
const header = JSON.parse(golden.header.metadata.get('golden') ?? '{}') as { sha256: string };

async function reasonToSkip(): Promise<string | false> {
  if (!folder) return 'skipped: no model at HEDDLE_REAL_MODEL (not set)';
  const file = join(folder, 'model.safetensors');
  if (!existsSync(file)) return `skipped: no model at ${folder}`;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file)) hash.update(chunk as Buffer);
  return hash.digest('hex') === header.sha256
    ? false
    : 'skipped: the golden values are of another model';
}

const skip = await reasonToSkip();
if (skip) console.log(skip);

/** The last position of a value [1, pos, …] or [1, head, query_pos, key_pos]. */
function lastPosition(hook: string, value: Tensor): Tensor {
  const [, a = 1, b = 1, c = 1] = value.shape;
  const data = Float64Array.from(value.data as Float32Array);
  if (!hook.endsWith('pattern')) return tensor('f64', [b], data.slice((a - 1) * b));
  const rows = Array.from({ length: a }, (_, head) => [
    ...data.subarray((head * b + b - 1) * c, (head * b + b) * c),
  ]);
  return tensor('f64', [a, c], Float64Array.from(rows.flat()));
}

test('the real model agrees with transformers within 2e-4 and continues with the same greedy tokens', {
  skip,
}, async () => {
  const model = await loadModel(await openModelFolder(folder as string));
  const engine = await OrtEngine.start({ threads: 2 });
  try {
    for (const prompt of ['p0', 'p1']) {
      const values = golden.names().filter((key) => key.startsWith(`${prompt}/`));
      const tokens = Array.from((golden.tensor(`${prompt}/tokens`) as Tensor<'i64'>).data, Number);
      const hooks = values.map((key) => key.slice(3)).filter((key) => key.includes('hook'));
      const plan = planForward(model, { hooks: [...hooks, 'logits'] });
      const inputs = { tokens: padTokens(model.config, [tokens]), logitRows: [tokens.length - 1] };
      const actual = await runPlan(engine, model, plan, inputs);
      for (const hook of hooks) {
        const found = lastPosition(hook, actual.get(hook) as Tensor);
        const { error, text } = difference(found, golden.tensor(`${prompt}/${hook}`));
        console.log(`${prompt} ${hook}: ${error.toExponential(1)}`);
        assert.ok(error <= TOLERANCE, `${hook}: ${text}`);
      }
      const logits = Float64Array.from((actual.get('logits') as Tensor<'f32'>).data);
      const sparse = logits.filter((_, i) => i % 64 === 0);
      const top = logits.toSorted().reverse().slice(0, 32);
      for (const [name, data] of [
        ['logits_every_64th', sparse],
        ['logits_top', top],
      ] as const) {
        const { error, text } = difference(
          tensor('f64', [data.length], data),
          golden.tensor(`${prompt}/${name}`),
        );
        console.log(`${prompt} ${name}: ${error.toExponential(1)}`);
        assert.ok(error <= TOLERANCE, `${name}: ${text}`);
      }
      const expected = Array.from(
        (golden.tensor(`${prompt}/greedy`) as Tensor<'i64'>).data,
        Number,
      );
      const greedy = [...tokens];
      const only = planForward(model, { hooks: ['logits'] });
      for (let i = 0; i < expected.length; i++) {
        const padded = padTokens(model.config, [greedy]);
        const next = await runPlan(engine, model, only, {
          tokens: padded,
          logitRows: [greedy.length - 1],
        });
        const row = (next.get('logits') as Tensor<'f32'>).data;
        greedy.push(row.indexOf(row.reduce((a, b) => Math.max(a, b))));
      }
      assert.deepEqual(greedy.slice(tokens.length), expected);
    }
  } finally {
    await engine.close();
  }
});
