import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlobDigest } from '@heddle/ports';
import { type GcInput, planGc } from './gc.ts';
import { initialState, type JobState } from './state.ts';

const blob = (n: number): BlobDigest => `sha256:${n.toString(16).padStart(64, '0')}`;
const HOUR_MS = 3_600_000;

function completed(id: string, result: number, rest: Partial<JobState> = {}): JobState {
  return {
    ...initialState(id),
    kind: 'count.steps',
    status: 'completed',
    sequence: 5,
    updatedMs: result,
    result: { blob: blob(result), bytes: 100, references: [], provenance: {} },
    ...rest,
  };
}

function input(jobs: readonly JobState[], rest: Partial<GcInput> = {}): GcInput {
  return {
    nowMs: 10 * HOUR_MS,
    jobs,
    blobs: [1, 2, 3, 4].map((n) => ({ digest: blob(n), bytes: 100, modifiedMs: n })),
    roots: [],
    collects: () => true,
    retainedBytesMax: () => Number.POSITIVE_INFINITY,
    tenantBytesMax: () => Number.POSITIVE_INFINITY,
    retainedJobsMax: 100,
    withinBudgets: true,
    graceMs: HOUR_MS,
    ...rest,
  };
}

test('within the budgets only blobs that nobody names are freed', () => {
  const plan = planGc(input([completed('a', 1), completed('b', 2)], { roots: [blob(4)] }));

  assert.deepEqual(plan.forget, []);
  assert.deepEqual(
    plan.garbage.map(({ digest }) => digest),
    [blob(3)],
  );
  assert.deepEqual([plan.freedBytes, plan.keptBytes], [100, 300]);
});

test('past the budget of their kind the oldest go, pinned ones never', () => {
  const jobs = [1, 2, 3].map((n) => completed(`job${n}`, n));
  jobs.push(completed('pinned', 4, { pinned: true, updatedMs: 0 }));
  const plan = planGc(input(jobs, { retainedBytesMax: () => 200 }));

  assert.deepEqual(
    plan.forget.map(({ id, bytes, reason }) => [id, bytes, reason]),
    [['job1', 100, 'budget']],
  );
  assert.deepEqual(
    plan.released.map(({ digest }) => digest),
    [blob(1)],
  );
});

test('a budget counts for its own kind alone', () => {
  const jobs = [completed('a', 1), completed('b', 2, { kind: 'other.kind' })];
  const plan = planGc(
    input(jobs, { retainedBytesMax: (kind) => (kind === 'other.kind' ? 0 : 100) }),
  );

  assert.deepEqual(
    plan.forget.map(({ id }) => id),
    ['b'],
  );
});

test('asked for everything, all settled jobs go but pinned ones', () => {
  const jobs = [
    completed('a', 1),
    completed('b', 2, { pinned: true }),
    { ...initialState('c'), status: 'active' as const },
  ];
  const plan = planGc(input(jobs, { withinBudgets: false }));

  assert.deepEqual(
    plan.forget.map(({ id }) => id),
    ['a'],
  );
});

test('a blob that another retained job names too is kept', () => {
  const shared = completed('kept', 1, { pinned: true });
  const plan = planGc(input([shared, completed('gone', 1)], { withinBudgets: false }));

  assert.equal(plan.forget.length, 1);
  assert.ok(![...plan.garbage, ...plan.released].some(({ digest }) => digest === blob(1)));
});

test('what an unfinished or resumable job needs is kept: inputs, checkpoints, outputs and what they name', () => {
  const task = {
    input: null,
    references: [blob(1)],
    phase: 'running' as const,
    readySequence: 2,
    readyAtMs: 0,
    claim: 'w.1',
    attempts: 1,
    checkpoint: { blob: blob(2), bytes: 100, references: [blob(3)], cursor: 5 },
    earlier: { blob: blob(5), bytes: 100, references: [blob(6)], cursor: 4 },
    output: undefined,
  };
  const output = { blob: blob(4), bytes: 100, references: [], provenance: {} };
  const tasks = [task, { ...task, phase: 'done' as const, output }];
  const active: JobState = { ...initialState('a'), status: 'active', tasks };
  const error = { code: 'unavailable', message: '', retryable: true } as const;

  const blobs = [1, 2, 3, 4, 5, 6].map((n) => ({ digest: blob(n), bytes: 100, modifiedMs: n }));
  for (const job of [active, { ...active, status: 'failed', error } as const]) {
    const { garbage, released } = planGc(input([job], { blobs }));
    assert.deepEqual([...garbage, ...released], [], job.status);
  }
  const hopeless = { ...active, status: 'failed', error: { ...error, retryable: false } } as const;
  assert.equal(planGc(input([hopeless], { blobs })).garbage.length, 6);
});

test('what a forgotten job named goes at once, unless it was put again since the job ended', () => {
  const job = completed('a', 1, { finishedMs: 9.9 * HOUR_MS });
  const at = (hours: number) => [{ digest: blob(1), bytes: 100, modifiedMs: hours * HOUR_MS }];
  const plan = (hours: number) => planGc(input([job], { withinBudgets: false, blobs: at(hours) }));

  assert.equal(plan(9.8).freedBytes, 100);
  assert.equal(plan(9.95).freedBytes, 0);
});

test('a blob that was just put stays: somebody is about to name it', () => {
  const blobs = [{ digest: blob(9), bytes: 7, modifiedMs: 9.5 * HOUR_MS }];

  assert.equal(planGc(input([], { blobs })).freedBytes, 0);
});
