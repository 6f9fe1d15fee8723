import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '@heddle/actor';
import { type Json, OperationError, Rng } from '@heddle/core';
import { initialiseLevelA, initialState } from '@heddle/interp/lorsa';
import { encodeOutcome } from '@heddle/ports';
import { MemoryBlobs, VirtualClock } from '@heddle/testkit';
import { writeCheckpoint } from '../checkpoint-files.ts';
import { type RequestChanges, trainRequest } from '../training-fixture.ts';
import { ensureBaseline, startBaseline } from './baseline.ts';
import { type BaselineDeps, baselineRequest, saeSettings } from './baseline-request.ts';
import { dense, exactLayer } from './evaluation-fixture.ts';
import { evaluateHandlers } from './handlers.ts';

const { host } = dense;
const signal = new AbortController().signal;

interface World {
  readonly kind?: string;
  readonly status?: JobView['status'];
  readonly train?: RequestChanges;
  readonly provenance?: Record<string, string>;
  /** How each submitted baseline stands. */
  readonly baselines?: readonly JobView['status'][];
}

/** A finished training `t`, and jobs that end as they are told. */
async function setUp(world: World = {}) {
  const blobs = new MemoryBlobs(new VirtualClock());
  const { config } = exactLayer();
  const state = initialState(
    { ...config, topK: 5, n_ctx: 24 },
    initialiseLevelA(config, new Rng(1)),
    {
      epochRng: new Rng(2).snapshot(),
      norms: { input: 4, output: 1.5 },
    },
  );
  const own = { model: 'm', model_digest: 'synthetic-5', activations: 'sha256:a' };
  const { weights } = writeCheckpoint(host, state, world.provenance ?? own);
  const put = await blobs.put(weights);
  const artifact = {
    name: 'checkpoint.safetensors',
    mediaType: 'application/x-safetensors',
  } as const;
  const result = await blobs.put(
    encodeOutcome({ summary: { dead_after_tokens: 1234 }, artifacts: [{ ...artifact, ...put }] }),
  );
  const submitted: { readonly kind: string; readonly request: Json; readonly key: string }[] = [];
  const view = (id: string, kind: string, status: JobView['status'], request: Json) =>
    ({ id, kind, status, request }) as JobView;
  const train = trainRequest({ model: 'm', seed: 9, ...world.train });
  const statuses = world.baselines ?? ['completed'];
  const jobs = {
    get: async (id: string) => {
      if (id === 't') {
        return view('t', world.kind ?? 'lorsa.train', world.status ?? 'completed', train as Json);
      }
      throw new OperationError({ code: 'not_found', message: `no job ${id}` });
    },
    result: async () => ({ digest: result.digest, bytes: result.bytes, provenance: {} }),
    submit: async (kind: string, request: Json, { key = '' } = {}) => {
      const known = submitted.findIndex((each) => each.key === key);
      const at = known < 0 ? submitted.push({ kind, request, key }) - 1 : known;
      return view(`b${at}`, kind, statuses[at] ?? 'completed', request);
    },
    wait: async (id: string) => ({
      ...view(id, 'lorsa.baseline', 'failed', null),
      error: { code: 'data_loss', message: 'a shard is damaged', retryable: false, details: {} },
    }),
  };
  const peers = { activation: { DescribeModel: async () => ({ model: { ...host } }) } };
  const deps = { blobs, jobs, peers, hub: { open: () => assert.fail('no folder') } };
  return { deps: deps as unknown as BaselineDeps, submitted };
}

const refused = (code: string, message: RegExp) => (error: OperationError) => {
  assert.equal(error.code, code, error.message);
  assert.match(error.message, message);
  return true;
};

test('a baseline has the training’s width, K, schedule, steps, batch, rate, clipping and normalisation', async () => {
  const optimiser = { steps: 300, batch: 8, learning_rate: 0.004, clip_norm: 0.5, warmup_steps: 7 };
  const schedule = { shape: 'linear', from: 20, steps: 50 };
  const { deps } = await setUp({
    train: {
      optimiser: { ...optimiser, top_k_schedule: schedule },
      architecture: { top_k: 5 },
      auxiliary: { coefficient: 0.03, top_k: 20 },
    },
  });
  const request = await baselineRequest(deps, 't', 3);
  assert.deepEqual(saeSettings(request), {
    config: { d_model: 16, d_sae: 32, topK: 5 },
    steps: 300,
    batch: 8,
    rate: { peak: 0.004, warmupSteps: 7, decayShare: 0.2, endShare: 1 / 32 },
    topK: { shape: 'linear', from: 20, to: 5, steps: 50 },
    clipNorm: 0.5,
    auxiliary: { coefficient: 0.03, topK: 20, deadTokens: 1234 },
    checkpointSteps: 50,
  });
  assert.deepEqual(request.learning_rates, [0.004, 0.012, 0.04]);
  assert.equal(request.pilot_steps, 50);
  const { norm_in, norm_out, activations, seed, hook } = request;
  assert.deepEqual([norm_in, norm_out, activations, seed], [4, 1.5, 'sha256:a', 3]);
  assert.equal(hook, host.hookOut);
});

test('without a training of this server there is no baseline, and the refusal says what to do', async () => {
  const { deps } = await setUp();
  const trainHere = refused('failed_precondition', /heddle lorsa train/);
  await assert.rejects(baselineRequest(deps, '/a/folder', 0), trainHere);
  await assert.rejects(baselineRequest(deps, 'x.safetensors', 0), trainHere);
  const imported = await setUp({ kind: 'lorsa.import' });
  await assert.rejects(
    baselineRequest(imported.deps, 't', 0),
    refused('failed_precondition', /job t is a lorsa\.import.*heddle lorsa train/),
  );
  const running = await setUp({ status: 'running' });
  await assert.rejects(
    baselineRequest(running.deps, 't', 0),
    refused('failed_precondition', /training t is running/),
  );
  const older = await setUp({ provenance: { model: 'm' } });
  await assert.rejects(
    baselineRequest(older.deps, 't', 0),
    refused('failed_precondition', /which activations/),
  );
  await assert.rejects(baselineRequest(deps, 'nobody', 0), refused('not_found', /no job/));
  await assert.rejects(baselineRequest(deps, '', 0), refused('invalid_argument', /no training/));
});

test('the same baseline is the same job, another seed another one', async () => {
  const { deps, submitted } = await setUp();
  const start = async (seed: number) => startBaseline(deps, await baselineRequest(deps, 't', seed));
  assert.deepEqual(
    [(await start(0)).id, (await start(0)).id, (await start(1)).id],
    ['b0', 'b0', 'b1'],
  );
  assert.ok(submitted.every(({ kind, key }) => kind === 'lorsa.baseline' && key.length <= 128));
});

test('a baseline that failed or was cancelled is started anew', async () => {
  const { deps } = await setUp({ baselines: ['failed', 'cancelled', 'running'] });
  assert.equal((await startBaseline(deps, await baselineRequest(deps, 't', 0))).id, 'b2');
});

test('whoever needs a baseline is given the finished one’s job, or its error with its job', async () => {
  const done = await setUp();
  assert.equal(await ensureBaseline(done.deps, 't', 0, signal), 'b0');
  const failing = await setUp({ baselines: ['running'] });
  const started: string[] = [];
  await assert.rejects(
    ensureBaseline(failing.deps, 't', 0, signal, (job) => started.push(job)),
    (error: OperationError) =>
      refused('data_loss', /baseline \(job b0\).*a shard is damaged/)(error) &&
      error.details['job'] === 'b0',
  );
  assert.deepEqual(started, ['b0']);
});

type StartEvaluate = NonNullable<ReturnType<typeof evaluateHandlers>['StartEvaluate']>;
const context = { signal } as Parameters<StartEvaluate>[1];
const startEvaluate = (deps: BaselineDeps): StartEvaluate =>
  evaluateHandlers(deps).StartEvaluate ?? assert.fail();
const evaluation = {
  checkpoint: 't',
  model: '',
  data: null,
  top_k: [],
  baseline: false,
  client_key: 'key',
};

test('StartEvaluate submits what was asked under the caller’s key', async () => {
  const { deps, submitted } = await setUp();
  const asked = { ...evaluation, top_k: [8, 2, 8], baseline: true };
  const { job } = await startEvaluate(deps)(asked, context);
  assert.equal(job?.id, 'b0');
  assert.equal(submitted[0]?.kind, 'lorsa.evaluate');
  assert.equal(submitted[0]?.key, 'key');
  const { top_k } = (submitted[0]?.request ?? {}) as { top_k?: number[] };
  assert.deepEqual(top_k, [2, 8]);
});

test('StartEvaluate refuses before there is a job: no checkpoint, K of nothing or too large, too many K, no baseline', async () => {
  const { deps, submitted } = await setUp({ kind: 'lorsa.import' });
  const cases: readonly (readonly [object, string, RegExp])[] = [
    [{ checkpoint: '' }, 'invalid_argument', /no checkpoint/],
    [{ top_k: [0, 4] }, 'invalid_argument', /at least one head/],
    [{ top_k: [33] }, 'invalid_argument', /more than the layer's 32 heads/],
    [{ top_k: Array.from({ length: 40 }, (_, i) => i + 1) }, 'invalid_argument', /at most 32/],
    [{ baseline: true }, 'failed_precondition', /heddle lorsa train/],
  ];
  for (const [change, code, message] of cases) {
    await assert.rejects(
      async () => startEvaluate(deps)({ ...evaluation, ...change }, context),
      refused(code, message),
    );
  }
  assert.equal(submitted.length, 0);
});
