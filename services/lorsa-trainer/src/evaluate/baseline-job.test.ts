import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Progress } from '@heddle/actor';
import { OrtEngine } from '@heddle/adapters/ort';
import type { OperationError } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { readSaeFiles, saeForward } from '@heddle/interp/sae';
import { type BlobDigest, decodeOutcome } from '@heddle/ports';
import { tensor } from '@heddle/tensor';
import { trainRequest } from '../training-fixture.ts';
import { baselineKind } from './baseline-job.ts';
import type { BaselineRequest } from './baseline-request.ts';
import { dense, randomPrompts, TaskWorld } from './evaluation-fixture.ts';

let engine: OrtEngine;
before(async () => {
  engine = await OrtEngine.start({ threads: 1 });
});
after(() => engine.close());

const prompts = randomPrompts(60, 700).map((tokens) => ({ tokens }));
const { host } = dense;

async function request(world: TaskWorld, changes: Partial<BaselineRequest>, text = prompts) {
  const activations = dense.activations(world.blobs, 9);
  const hooks = [host.hookIn, host.hookOut];
  const data = { ...trainRequest().data, prompts: text };
  const job = await activations.start({ model: 'm', hooks, data, context: 16 });
  const asked: BaselineRequest = {
    ...{ training: 't', checkpoint_digest: 'sha256:c', model: 'm', model_digest: 'synthetic-5' },
    ...{ hook_in: host.hookIn, hook: host.hookOut, norm_in: 4, norm_out: 1.5 },
    activations: (await activations.finished(job)).digest,
    ...{ d_model: 16, d_sae: 48, top_k: 6, steps: 60, batch: 8 },
    ...{ learning_rates: [5e-3, 2e-2], pilot_steps: 10 },
    ...{ warmup_steps: 5, decay_share: 0.2, end_share: 1 / 32, clip_norm: 0, dead_tokens: 2000 },
    k_schedule: { shape: 'constant', from: 6, to: 6, steps: 0 },
    ...{ checkpoint_steps: 20, seed: 1, auxiliary: { coefficient: 0, top_k: 0 } },
    ...changes,
  };
  return asked;
}

async function run(
  world: TaskWorld,
  changes: Partial<BaselineRequest> = {},
  stop?: (world: TaskWorld) => boolean,
  text = prompts,
) {
  const kind = baselineKind({ engine, versions: { heddle: 'test' } });
  const task = { job: 'j', index: 0, count: 1, input: null };
  const asked = await request(world, changes, text);
  const output = await kind.run({ ...task, request: asked }, world.context(stop));
  assert.ok(output.bytes);
  return { ...decodeOutcome(output.bytes), provenance: output.provenance };
}

const steps = ({ progress }: TaskWorld): readonly Progress[] =>
  progress.filter(({ unit }) => unit === 'steps');

const fileOf = async (
  world: TaskWorld,
  { artifacts }: { artifacts: readonly { name: string; digest: string }[] },
  name: string,
) => {
  const found = artifacts.find((each) => each.name === name);
  return world.blobs.read(found?.digest as BlobDigest);
};

test('its loss falls, and its file reconstructs held-out targets with the FVU that it tells', async () => {
  const world = new TaskWorld();
  const made = await run(world, { steps: 200 });
  const first = steps(world)[0]?.figures?.['loss'] ?? 0;
  const last = steps(world).at(-1)?.figures?.['loss'] ?? 1;
  assert.ok(last < 0.6 * first, `${first} → ${last}`);
  const { summary } = made;
  assert.ok((summary['fvu'] as number) < 0.35, `FVU ${summary['fvu']}`);
  assert.ok((summary['l0'] as number) <= 6 && (summary['l0'] as number) > 3);
  assert.equal(summary['features'], 48);

  const bytes = await fileOf(world, made, 'sae_weights.safetensors');
  const layer = readSaeFiles(undefined, readSafetensors('f', bytes));
  assert.equal(layer.hook, host.hookOut);
  const rows: number[] = [];
  for (const { tokens } of prompts.slice(-6)) {
    const y = dense.values(tokens)[host.hookOut];
    rows.push(...(y?.data.subarray(16) ?? [])); // the first token is special
  }
  const y = tensor('f64', [rows.length / 16, 16], Float64Array.from(rows));
  const { reconstruction } = saeForward(layer.config, layer.weights, y);
  const mean = Array.from({ length: 16 }, (_, d) => {
    return rows.reduce((sum, v, at) => sum + (at % 16 === d ? v : 0), 0) / (rows.length / 16);
  });
  let [error, spread] = [0, 0];
  rows.forEach((v, at) => {
    error += (v - (reconstruction.data[at] ?? 0)) ** 2;
    spread += (v - (mean[at % 16] ?? 0)) ** 2;
  });
  assert.ok(Math.abs(error / spread - (summary['fvu'] as number)) < 1e-5);
});

test('a batch of special tokens only is passed over, as the training passes over it', async () => {
  const special = { tokens: Array.from({ length: 16 }, () => 0) };
  const text = prompts.flatMap((prompt) => [special, special, prompt]);
  const { summary } = await run(new TaskWorld(), { batch: 1, steps: 20 }, undefined, text);
  assert.ok(Number.isFinite(summary['fvu']));
  assert.ok((summary['rates_tried'] as { fvu: number | null }[]).every(({ fvu }) => fvu !== null));
});

test('stopped at any step and resumed, its files are the same to the byte', async () => {
  const whole = new TaskWorld();
  const expected = await fileOf(whole, await run(whole), 'sae_weights.safetensors');
  for (const stopAt of [1, 10, 17, 40]) {
    const world = new TaskWorld();
    const isThere = (at: TaskWorld) => (steps(at).at(-1)?.done ?? 0) >= stopAt;
    await assert.rejects(run(world, {}, isThere), /killed/);
    const resumedFrom = world.saved?.cursor ?? -1;
    assert.ok(resumedFrom >= 0 && resumedFrom <= stopAt + 8 && resumedFrom > stopAt - 28);
    const file = await fileOf(world, await run(world), 'sae_weights.safetensors');
    assert.deepEqual(Buffer.from(file), Buffer.from(expected), `stopped at ${stopAt}`);
  }
});

test('AuxK moves dead features, which nothing else does, and a resumed training with it is the same to the byte', async () => {
  const k_schedule = { shape: 'constant', from: 2, to: 2, steps: 0 } as const;
  const short = {
    dead_tokens: 500,
    steps: 80,
    d_sae: 256,
    top_k: 2,
    k_schedule,
    learning_rates: [5e-3],
  };
  const auxiliary = { coefficient: 1 / 32, top_k: 16 };
  const encoder = async (changes: Partial<BaselineRequest>) => {
    const own = new TaskWorld();
    const bytes = await fileOf(own, await run(own, changes), 'sae_weights.safetensors');
    return readSafetensors('f', bytes).tensor('W_enc').data;
  };
  assert.notDeepEqual(await encoder({ ...short, auxiliary }), await encoder(short));
  // None is dead before the threshold: until then AuxK changes nothing.
  const early = { ...short, dead_tokens: 1e9 };
  assert.deepEqual(await encoder({ ...early, auxiliary }), await encoder(early));

  const made = await run(new TaskWorld(), { ...short, auxiliary });
  const world = new TaskWorld();
  const isThere = (at: TaskWorld) => (steps(at).at(-1)?.done ?? 0) >= 50;
  await assert.rejects(run(world, { ...short, auxiliary }, isThere), /killed/);
  const again = await run(world, { ...short, auxiliary });
  assert.equal(again.artifacts[0]?.digest, made.artifacts[0]?.digest);
});

test('another seed is another autoencoder, and K falls when the training’s did', async () => {
  const world = new TaskWorld();
  const schedule = { shape: 'linear', from: 24, to: 6, steps: 30 } as const;
  await run(world, { steps: 40, seed: 2, k_schedule: schedule });
  const l0 = steps(world).map(({ figures }) => figures?.['l0'] ?? 0);
  assert.ok((l0[0] ?? 0) > 8 && (l0.at(-1) ?? 9) <= 6, `${l0}`);
  const [a, b] = [new TaskWorld(), new TaskWorld()];
  const [one, two] = [await run(a, { steps: 2, seed: 1 }), await run(b, { steps: 2, seed: 2 })];
  assert.notEqual(one.artifacts[0]?.digest, two.artifacts[0]?.digest);
});

test('a checkpoint continues no other baseline', async () => {
  const world = new TaskWorld();
  await assert.rejects(
    run(world, {}, (at) => steps(at).length > 3),
    /killed/,
  );
  await assert.rejects(
    run(world, { learning_rates: [1e-3] }),
    (error: OperationError) => error.code === 'data_loss' && /another baseline/.test(error.message),
  );
});

test('where the training’s activations are gone it says what to do', async () => {
  const gone = { activations: `sha256:${'0'.repeat(64)}` };
  await assert.rejects(
    run(new TaskWorld(), gone),
    (error: OperationError) =>
      error.code === 'failed_precondition' && /start the training again/.test(error.message),
  );
});

test('of the rates that are tried the best trains; one that blows up is passed over, and the rest is told', async () => {
  const { summary } = await run(new TaskWorld(), { learning_rates: [1e30, 1e-6, 5e-3] });
  assert.equal(summary['learning_rate'], 5e-3);
  const tried = summary['rates_tried'] as { rate: number; fvu: number | null }[];
  assert.deepEqual(
    tried.map(({ rate }) => rate),
    [1e30, 1e-6, 5e-3],
  );
  assert.equal(tried[0]?.fvu, null);
  assert.ok((tried[2]?.fvu ?? 1) < (tried[1]?.fvu ?? 0));
});

test('where every rate blows up it says so', async () => {
  await assert.rejects(
    run(new TaskWorld(), { learning_rates: [1e30, 1e31], warmup_steps: 1 }),
    (error: OperationError) =>
      error.code === 'failed_precondition' && /every learning rate/.test(error.message),
  );
});
