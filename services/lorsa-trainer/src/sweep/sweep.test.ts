import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type JobKind, outcomeWithFiles, type TaskContext } from '@heddle/actor';
import { OperationError } from '@heddle/core';
import { decodeOutcome } from '@heddle/ports';
import type { StartSweepRequest } from '@heddle/ports/proto/lorsa';
import { JobWorld, silentLog } from '@heddle/testkit';
import type { ActivationQuestion } from '../activation-source.ts';
import type { TrainRequest } from '../train-request.ts';
import { noKernels, startTrain } from '../training-fixture.ts';
import { sweepHandlers } from './handlers.ts';
import { type SweepDeps, type SweepRow, sweepKind } from './sweep-job.ts';
import { checkedSweep, pointsOf } from './sweep-request.ts';

const SIZES = { d_model: 64, d_head: 8, n_heads: 2, n_ctx: 32, n_layers: 4 };
const base = startTrain({ model: 'm', data: { prompts: [{ text: 'a' }, { text: 'b' }] } });

const sweep = (changes: Partial<StartSweepRequest> = {}): StartSweepRequest => ({
  base,
  layers: [1, 3],
  n_ov_heads: [32, 64],
  top_k: [4],
  seeds: [0, 7],
  client_key: '',
  ...changes,
});

/** Trainings that take a second each, and say how they were asked. */
class Trainings {
  readonly asked: TrainRequest[] = [];
  readonly questions: ActivationQuestion[] = [];
  readonly world = new JobWorld();

  readonly kind: JobKind = {
    kind: 'lorsa.train',
    limits: { concurrency: 1 },
    split: () => [{ input: null }],
    run: async ({ request }, context: TaskContext) => {
      const train = request as unknown as TrainRequest;
      this.asked.push(train);
      for (let i = 0; i < 10; i++) {
        await context.clock.sleep(100);
        await context.pulse();
      }
      if (train.seed === 13) {
        throw new OperationError({ code: 'failed_precondition', message: 'loss is NaN at step 3' });
      }
      const summary = { heads: train.architecture.n_ov_heads, fvu: train.layer / 10, loss: 1 };
      return outcomeWithFiles(context.blobs, { summary, files: [], provenance: {} });
    },
  };

  async started(change: (jobs: SweepDeps['jobs']) => SweepDeps['jobs'] = (jobs) => jobs) {
    const deps: { -readonly [K in keyof SweepDeps]: SweepDeps[K] } = {
      jobs: undefined as unknown as SweepDeps['jobs'],
      activations: {
        start: async (question) => {
          this.questions.push(question);
          return 'captured';
        },
        finished: () => assert.fail('the trainings wait, not the sweep'),
      },
      sizes: async () => SIZES,
    };
    const runtime = this.world.runtime([sweepKind(deps), this.kind]);
    deps.jobs = change(runtime);
    await this.world.clock.run(runtime.start());
    return runtime;
  }
}

async function rows(
  trainings: Trainings,
  runtime: Awaited<ReturnType<Trainings['started']>>,
  id: string,
) {
  const view = await trainings.world.clock.run(runtime.wait(id));
  assert.equal(view.status, 'completed', view.error?.message);
  const { summary } = decodeOutcome(
    await trainings.world.blobs.read((await runtime.result(id)).digest),
  );
  return { summary, points: summary['points'] as unknown as readonly SweepRow[] };
}

test('every point is trained once, all on one pass over the text, and the table is in the order of the grid', async () => {
  const trainings = new Trainings();
  const runtime = await trainings.started();
  const { id } = await runtime.submit('lorsa.sweep', checkedSweep(sweep()));
  const { points } = await rows(trainings, runtime, id);

  assert.equal(trainings.questions.length, 1);
  assert.deepEqual(trainings.questions[0]?.hooks, [
    'blocks.1.ln1.hook_normalized',
    'blocks.1.hook_attn_out',
    'blocks.3.ln1.hook_normalized',
    'blocks.3.hook_attn_out',
  ]);
  assert.equal(trainings.asked.length, 8);
  for (const { data } of trainings.asked) assert.equal(data.activations, 'captured');
  assert.deepEqual(
    points.map(({ layer, n_ov_heads, top_k, seed, fvu }) => [layer, n_ov_heads, top_k, seed, fvu]),
    [1, 3].flatMap((layer) =>
      [32, 64].flatMap((heads) => [0, 7].map((seed) => [layer, heads, 4, seed, layer / 10])),
    ),
  );
  assert.equal(new Set(points.map(({ job }) => job)).size, 8);
});

test('a point that fails tells its error, and the others stay', async () => {
  const trainings = new Trainings();
  const runtime = await trainings.started();
  const request = checkedSweep(sweep({ layers: [1], n_ov_heads: [32], seeds: [1, 13, 2] }));
  const { id } = await runtime.submit('lorsa.sweep', request);
  const { points, summary } = await rows(trainings, runtime, id);
  assert.deepEqual(
    points.map(({ fvu, error }) => [fvu, error]),
    [
      [0.1, ''],
      [null, 'loss is NaN at step 3'],
      [0.1, ''],
    ],
  );
  assert.deepEqual([summary['trained'], summary['failed']], [2, 1]);
});

test('a sweep that is executed anew submits nothing twice and captures nothing twice', async () => {
  const trainings = new Trainings();
  let left = 3;
  const runtime = await trainings.started((jobs) => ({
    submit: (...request) => {
      if (left-- === 0) throw new OperationError({ code: 'unavailable', message: 'gone' });
      return jobs.submit(...request);
    },
    get: (id) => jobs.get(id),
    wait: (id, signal) => jobs.wait(id, signal),
    result: (id) => jobs.result(id),
    cancel: (id) => jobs.cancel(id),
    pause: (id) => jobs.pause(id),
    resume: (id) => jobs.resume(id),
  }));
  const { id } = await runtime.submit('lorsa.sweep', checkedSweep(sweep()));
  const { points } = await rows(trainings, runtime, id);
  assert.equal(points.length, 8);
  assert.equal(trainings.asked.length, 8);
  assert.equal(trainings.questions.length, 1);
  assert.ok(left < 0, 'it did fail in between');
});

test('a cancelled sweep cancels its trainings; two sweeps at once both end', async () => {
  const trainings = new Trainings();
  const { clock } = trainings.world;
  const runtime = await trainings.started();
  const request = checkedSweep(sweep());
  const first = await runtime.submit('lorsa.sweep', request);
  const second = await runtime.submit('lorsa.sweep', { ...request, seeds: [5] });
  for (let i = 0; trainings.asked.length < 2 && i < 100; i++) await clock.run(clock.sleep(100));
  await clock.run(runtime.cancel(first.id));
  const view = await clock.run(runtime.wait(first.id));
  assert.equal(view.status, 'cancelled');
  const { points } = await rows(trainings, runtime, second.id);
  assert.equal(points.length, 4);
  const trained = (await runtime.list({ kind: 'lorsa.train', limit: 100 })).jobs;
  const own = trained.filter(({ key }) => key.startsWith(`sweep ${first.id} `));
  assert.ok(own.length === 8 && own.every(({ status }) => status !== 'running'));
  assert.ok(own.filter(({ status }) => status === 'cancelled').length >= 6);
});

test('a paused sweep pauses its trainings, and both go on together', async () => {
  const trainings = new Trainings();
  const { clock } = trainings.world;
  const runtime = await trainings.started();
  const { id } = await runtime.submit('lorsa.sweep', checkedSweep(sweep({ layers: [1] })));
  for (let i = 0; trainings.asked.length < 2 && i < 100; i++) await clock.run(clock.sleep(100));
  await clock.run(runtime.pause(id));
  await clock.run(clock.sleep(3000));
  const states = async () =>
    (await runtime.list({ kind: 'lorsa.train', limit: 100 })).jobs.map(({ status }) => status);
  assert.ok((await states()).every((status) => status === 'paused' || status === 'completed'));
  await clock.run(runtime.resume(id));
  const { points } = await rows(trainings, runtime, id);
  assert.ok(points.every(({ fvu }) => fvu === 0.1));
});

test('a grid is refused whole: too many points, an entry twice, or one point that does not fit the host', async () => {
  const submitted: unknown[] = [];
  const handlers = sweepHandlers({
    sizes: async () => SIZES,
    kernels: noKernels,
    jobs: { submit: async (...request) => assert.fail(`${submitted.push(request)} submitted`) },
  });
  const call = { signal: new AbortController().signal, log: silentLog, method: 'test' };
  const many = Array.from({ length: 257 }, (_, i) => i);
  for (const [change, field] of [
    [{ layers: [0], n_ov_heads: [], seeds: many }, 'layers'],
    [{ seeds: [3, 3] }, 'seeds'],
    [{ layers: [1, 4] }, 'layer'],
    [{ n_ov_heads: [32, 33] }, 'architecture.n_ov_heads'],
    [{ base: { ...base, preset: 'huge' } }, 'base.preset'],
  ] as const) {
    await assert.rejects(
      handlers.StartSweep?.(sweep(change), call) ?? Promise.resolve(),
      (error: OperationError) => {
        assert.deepEqual([error.code, error.field], ['invalid_argument', field], error.message);
        return true;
      },
    );
  }
});

test('a list that is empty is the base’s own value', () => {
  const request = sweep({ layers: [], n_ov_heads: [], top_k: [], seeds: [] });
  const points = pointsOf(
    checkedSweep({
      ...request,
      base: startTrain({ layer: 2, seed: 5, architecture: { top_k: 3 } }),
    }),
  );
  assert.deepEqual(
    points.map(({ layer, seed, architecture }) => [layer, seed, architecture.top_k]),
    [[2, 5, 3]],
  );
});
