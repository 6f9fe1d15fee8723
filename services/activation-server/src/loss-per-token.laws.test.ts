import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { systemClock } from '@heddle/adapters/clock';
import { loadConfig, loadModel, openModelFolder, programOf } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { type OperationError, Rng } from '@heddle/core';
import { type Init, toInline } from '@heddle/ports';
import type { Intervention, RunRequest } from '@heddle/ports/proto/activation';
import { tensor } from '@heddle/tensor';
import { CountingMetrics, temporaryFolder } from '@heddle/testkit';
import { gpt2Config, writeRandomModel } from '@heddle/testkit/random-model';
import { checkRun } from './check-run.ts';
import { ACTIVATION_METRICS } from './metrics.ts';
import type { OpenModel } from './open-model.ts';
import { RunService } from './run-service.ts';

const SIZES = { n_layer: 2, n_head: 2, n_embd: 32, vocab_size: 60, n_positions: 32 };

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let engine: OrtEngine;
let service: RunService;
let open: OpenModel;
const metrics = new CountingMetrics();

before(async () => {
  folder = await temporaryFolder();
  engine = await OrtEngine.start();
  metrics.register(ACTIVATION_METRICS);
  const store = { config: loadConfig, load: loadModel, program: programOf };
  service = new RunService({ engine, store, metrics, clock: systemClock });
  const path = join(folder.path, 'model');
  await writeRandomModel(path, gpt2Config(SIZES), 5);
  const model = await loadModel(await openModelFolder(path));
  open = { name: 'model', bundled: false, importedMs: 0, model, tokenizer: undefined };
});

after(async () => {
  await engine.close();
  await folder.remove();
});

const request = (changes: Partial<Init<RunRequest>>): RunRequest =>
  ({
    model: '',
    prompts: [],
    options: null,
    hooks: [],
    positions: [],
    dtype: 'ELEMENT_TYPE_F32',
    interventions: [],
    gradient: '',
    alone: true,
    loss_per_token: true,
    ...changes,
  }) as RunRequest;

async function run(changes: Partial<Init<RunRequest>>) {
  const results: ReadonlyMap<string, { data: Float32Array; shape: readonly number[] }>[] = [];
  const { signal } = new AbortController();
  for await (const { tensors } of service.run(open.model, checkRun(request(changes), open), {
    signal,
    caller: '',
  }))
    results.push(tensors as unknown as (typeof results)[number]);
  return results;
}

const promptsOf = (lengths: readonly number[], seed = 1) => {
  const rng = new Rng(seed);
  return lengths.map((length) => ({
    id: '',
    tokens: { ids: Array.from({ length }, () => rng.below(60)) },
  }));
};

/** The definition, in double: −(logit of the next token − log Σ exp). */
function lossesOf(logits: Float32Array, ids: readonly number[]): number[] {
  return ids.slice(1).map((next, t) => {
    const row = logits.subarray(t * 60, (t + 1) * 60);
    const largest = Math.max(...row);
    const sum = row.reduce((total, x) => total + Math.exp(x - largest), 0);
    return largest + Math.log(sum) - (row[next] ?? Number.NaN);
  });
}

/** A different value for each prompt, far from what the model has there, all in one request. */
function replacements(prompts: ReturnType<typeof promptsOf>): Init<Intervention>[] {
  const rng = new Rng(9);
  return prompts.map(({ tokens }, prompt) => {
    const shape = [tokens.ids.length, SIZES.n_embd];
    const length = tokens.ids.length * SIZES.n_embd;
    const data = Float32Array.from({ length }, () => 3 * rng.normal());
    return {
      hook: 'blocks.1.hook_attn_out',
      kind: 'INTERVENTION_KIND_REPLACE' as const,
      prompts: [prompt],
      positions: [],
      heads: [],
      factor: 0,
      value: toInline(tensor('f32', shape, data)),
    };
  });
}

function assertLosses(
  logits: Awaited<ReturnType<typeof run>>,
  losses: Awaited<ReturnType<typeof run>>,
  prompts: ReturnType<typeof promptsOf>,
): void {
  prompts.forEach(({ tokens: { ids } }, prompt) => {
    const expected = lossesOf(logits[prompt]?.get('logits')?.data ?? new Float32Array(), ids);
    const found = losses[prompt]?.get('loss_per_token');
    assert.deepEqual(found?.shape, [ids.length - 1]);
    expected.forEach((loss, t) => {
      const difference = Math.abs(loss - (found?.data[t] ?? Number.NaN));
      assert.ok(difference < 5e-6, `prompt ${prompt} token ${t}: ${loss}, ${found?.data[t]}`);
    });
  });
}

test('the loss of each next token is −log softmax of its logits, in a padded batch', async () => {
  const prompts = promptsOf([9, 2, 17, 12, 16, 9]);

  const logits = await run({ prompts, hooks: ['logits'], loss_per_token: false });
  const losses = await run({ prompts });

  assertLosses(logits, losses, prompts);
  assert.deepEqual(
    [...(losses[0]?.keys() ?? [])],
    ['loss_per_token'],
    'no logits leave the engine',
  );
  const both = await run({ prompts, hooks: ['logits', 'blocks.0.hook_attn_out'] });
  assertLosses(both, both, prompts);
});

test('32 prompts, each with a value of its own instead of the attention output, are one batch', async () => {
  const prompts = promptsOf(Array.from({ length: 32 }, (_, i) => 25 + (i % 4)));
  const interventions = replacements(prompts);
  const logits = await run({ prompts, interventions, hooks: ['logits'], loss_per_token: false });
  const before = metrics.value('activation_batch_prompts');

  const losses = await run({ prompts, interventions });

  assert.equal(metrics.value('activation_batch_prompts') - before, 1, 'batches');
  assertLosses(logits, losses, prompts);
  const plain = await run({ prompts });
  const moved = plain.map((own, i) =>
    Math.abs(
      (own.get('loss_per_token')?.data[0] ?? 0) - (losses[i]?.get('loss_per_token')?.data[0] ?? 0),
    ),
  );
  assert.ok(
    moved.every((difference) => difference > 1e-4),
    'each prompt has its own value',
  );
});

test('a prompt of one token has no next token', async () => {
  const [only] = await run({ prompts: promptsOf([1]) });
  assert.deepEqual(only?.get('loss_per_token')?.shape, [0]);
});

test('losses with positions or a gradient, and nothing asked at all, are refused by field', () => {
  const refused = (changes: Partial<Init<RunRequest>>, field: string): void => {
    const wrong = request({ prompts: promptsOf([5]), ...changes });
    assert.throws(
      () => checkRun(wrong, open),
      (error: OperationError) => error.code === 'invalid_argument' && error.field === field,
    );
  };
  refused({ positions: [1] }, 'positions');
  refused({ gradient: 'logit[-1, id:3]' }, 'loss_per_token');
  refused({ loss_per_token: false }, 'hooks');
});
