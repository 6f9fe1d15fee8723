import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type JobKind, JobRuntime } from '@heddle/actor';
import { systemClock } from '@heddle/adapters/clock';
import { LocalEvents } from '@heddle/adapters/events';
import { DirectoryBlobs } from '@heddle/adapters/fs';
import { type RunningServer, serve } from '@heddle/adapters/grpc';
import { openSqlite } from '@heddle/adapters/sqlite';
import { connect, type Heddle } from '@heddle/client';
import { invalidArgument, type Json, present } from '@heddle/core';
import { encodeOutcome } from '@heddle/ports';
import { CountingMetrics, silentLog, temporaryFolder } from '@heddle/testkit';
import { jobHandlers } from './job-handlers.ts';
import { JobWaits } from './job-waits.ts';

const BYTES = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 253);

/** Makes a file and a figure; refuses what it is asked to refuse. */
const makingKind: JobKind = {
  kind: 'test.make',
  split: () => [{ input: null }],
  async run({ request }, context) {
    if (request === 'refuse') {
      throw invalidArgument('not this', { field: 'what', details: { limit: 7, word: 'no' } });
    }
    const { digest, bytes } = await context.blobs.put(BYTES);
    const mediaType = 'application/octet-stream';
    const outcome = {
      summary: { answer: 42, not_finite: Number.NaN },
      artifacts: [{ name: 'bytes', digest, bytes, mediaType }],
    } as const;
    const provenance: { [name: string]: Json } = { seed: 3, precision: 'fp64' };
    return { bytes: encodeOutcome(outcome), references: [digest], provenance };
  },
};

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let runtime: JobRuntime;
let server: RunningServer;
let heddle: Heddle;
const waits = new JobWaits();
/** Lets the next task of `test.hold` end. */
let release = Promise.withResolvers<void>();

/** Says nothing while it runs, as a task does whose blobs do not come. */
const holdingKind: JobKind = {
  kind: 'test.hold',
  split: () => [{ input: null }],
  async run() {
    await release.promise;
    return { bytes: encodeOutcome({ summary: {}, artifacts: [] }) };
  },
};
let closeStores: () => Promise<void>;

before(async () => {
  folder = await temporaryFolder();
  const clock = systemClock;
  const { journal, queue, close } = openSqlite(join(folder.path, 'jobs.sqlite'), { clock });
  const blobs = await DirectoryBlobs.open(join(folder.path, 'blobs'));
  closeStores = close;
  runtime = new JobRuntime({
    ...{ journal, queue, blobs, clock },
    ...{ log: silentLog, metrics: new CountingMetrics(), events: new LocalEvents() },
    versions: { heddle: 'test' },
  });
  runtime.register(makingKind);
  runtime.register(holdingKind);
  await runtime.start();
  const handlers = { jobs: jobHandlers(runtime, blobs, waits) };
  server = await serve({ host: '127.0.0.1', port: 0, log: silentLog, handlers });
  heddle = connect(`127.0.0.1:${server.port}`);
});

after(async () => {
  heddle.close();
  await server.close(0);
  await runtime.stop(1000);
  await closeStores();
  await folder.remove();
});

const make = async (what: Json, key: string): Promise<string> => {
  const { id } = await runtime.submit('test.make', what, { key });
  return id;
};

test('a finished job has its summary, its files byte by byte, and its provenance', async () => {
  const id = await make({ a: 1 }, 'one');
  const job = await heddle.waitForJob(id);
  assert.equal(job.state, 'JOB_STATE_SUCCEEDED');
  const { summary, artifacts, provenance } = await heddle.outcome(id);
  assert.deepEqual(summary, { answer: 42, not_finite: null });
  assert.deepEqual(
    artifacts.map(({ name, bytes }) => [name, bytes]),
    [['bytes', BYTES.length]],
  );
  assert.equal(provenance?.seed, 3);
  assert.equal(provenance?.precision, 'fp64');
  assert.equal(provenance?.request_json, '{"a":1}');
  assert.deepEqual(provenance?.versions, [{ component: 'heddle', version: 'test' }]);
  assert.deepEqual(new Uint8Array(await heddle.artifactBytes(id, 'bytes')), BYTES);
  await assert.rejects(heddle.artifactBytes(id, 'other'), { code: 'not_found', field: 'name' });
});

test('a blob that a result names is read by its digest, and no other is', async () => {
  const id = await make({ a: 9 }, 'nine');
  await heddle.waitForJob(id);
  const digestOf = (bytes: Uint8Array) =>
    `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  assert.deepEqual(new Uint8Array(await heddle.artifactBytes(id, digestOf(BYTES))), BYTES);
  const { result } = await runtime.get(id);
  await assert.rejects(heddle.artifactBytes(id, result?.digest ?? ''), { code: 'not_found' });
});

test('a failed job says why, with the field and the details of its error', async () => {
  const id = await make('refuse', 'bad');
  const { state, error } = await heddle.waitForJob(id);
  assert.equal(state, 'JOB_STATE_FAILED');
  assert.equal(error?.code, 'invalid_argument');
  assert.equal(error?.field, 'what');
  assert.equal(error?.limit, 7);
  assert.deepEqual(
    error?.details.map(({ name, text }) => [name, text]),
    [['word', 'no']],
  );
  await assert.rejects(heddle.outcome(id), { code: 'failed_precondition' });
});

test('the beginning of an id is enough where it means one job', async () => {
  const id = await make({ a: 2 }, 'two');
  const { job } = await heddle.jobs.Get({ id: id.slice(0, -3) });
  assert.equal(job?.id, id);
  await assert.rejects(heddle.jobs.Get({ id: 'test-make' }), { code: 'invalid_argument' });
  await assert.rejects(heddle.jobs.Get({ id: 'qqqq' }), { code: 'not_found' });
});

test('a job that runs again is a new one with the same request and the same files', async () => {
  const id = await make({ a: 3 }, 'three');
  await heddle.waitForJob(id);
  const { job } = await heddle.jobs.Rerun({ id, client_key: 'again' });
  const again = await heddle.waitForJob(job?.id ?? '');
  assert.notEqual(again.id, id);
  assert.equal(again.request_json, '{"a":3}');
  const [before, after] = await Promise.all([heddle.outcome(id), heddle.outcome(again.id)]);
  assert.deepEqual(after.artifacts, before.artifacts);
});

test('jobs are listed newest first, by page, kind and state', async () => {
  const all = (await heddle.jobs.List({})).jobs;
  assert.ok(all.length >= 3);
  const first = await heddle.jobs.List({ limit: 1 });
  assert.equal(first.more, true);
  assert.equal(first.jobs[0]?.id, all[0]?.id);
  const second = await heddle.jobs.List({ limit: 1, after: first.jobs[0]?.id });
  assert.equal(second.jobs[0]?.id, all[1]?.id);
  const failed = await heddle.jobs.List({ states: ['JOB_STATE_FAILED'], kinds: ['test.make'] });
  assert.deepEqual(
    failed.jobs.map(({ state }) => state),
    ['JOB_STATE_FAILED'],
  );
  const kinds = ['test.make', 'other.kind'];
  assert.equal((await heddle.jobs.List({ kinds })).jobs.length, all.length);
  assert.deepEqual((await heddle.jobs.List({ tenant: 'nobody' })).jobs, []);
  await assert.rejects(heddle.jobs.List({ limit: 1001 }), { code: 'invalid_argument' });
  const many = Array.from({ length: 33 }, (_, i) => `kind.k${i}`);
  await assert.rejects(heddle.jobs.List({ kinds: many }), { code: 'invalid_argument' });
});

test('a pin is seen, and gc says what it would free', async () => {
  const id = await make({ a: 4 }, 'four');
  await heddle.waitForJob(id);
  assert.equal((await heddle.jobs.Pin({ id, pinned: true })).job?.pinned, true);
  assert.equal((await heddle.jobs.Pin({ id, pinned: false })).job?.pinned, false);
  const { freed } = await heddle.jobs.CollectGarbage({ dry_run: true });
  assert.deepEqual(
    freed.map(({ kind }) => kind),
    ['blobs', 'journals'],
  );
});

test('who follows a job that stands still is told what it waits for, and when it no longer does', async () => {
  release = Promise.withResolvers();
  const { id } = await runtime.submit('test.hold', {}, { key: 'hold' });
  const seen: string[] = [];
  for await (const { job } of heddle.jobs.Watch({ id })) {
    const { state, waits_for } = present(job, 'job');
    const said = waits_for || state.replace('JOB_STATE_', '').toLowerCase();
    if (said !== seen.at(-1)) seen.push(said);
    if (state === 'JOB_STATE_RUNNING' && seen.filter((each) => each === 'running').length === 1) {
      waits.set('the blob store does not answer');
    }
    if (waits_for !== '') {
      const { jobs } = await heddle.jobs.List({});
      assert.equal(jobs.find((each) => each.id === id)?.waits_for, waits_for);
      waits.set('');
    }
    if (seen.filter((each) => each === 'running').length === 2) release.resolve();
  }
  const tale = ['running', 'the blob store does not answer', 'running', 'succeeded'];
  assert.deepEqual(seen.slice(-4), tale);
  assert.deepEqual(seen.slice(0, -4), seen.length > 4 ? ['queued'] : []);
});

test('who leaves a job that stands still keeps nothing open', async () => {
  release = Promise.withResolvers();
  const { id } = await runtime.submit('test.hold', {}, { key: 'left' });
  const signals: AbortSignal[] = [];
  const watch = (signal: AbortSignal) => {
    signals.push(signal);
    return runtime.watch(id, signal);
  };
  for await (const view of waits.told(watch, new AbortController().signal)) {
    if (view.status === 'running') break;
  }
  assert.equal(signals[0]?.aborted, true);
  release.resolve();
  assert.equal((await heddle.waitForJob(id)).state, 'JOB_STATE_SUCCEEDED');
});
