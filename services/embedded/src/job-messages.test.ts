import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JobView } from '@heddle/actor';
import { jobMessage } from './job-messages.ts';

const view: JobView = {
  ...{
    id: 'j',
    kind: 'lorsa.train',
    key: '',
    request: {},
    status: 'running',
    tenant: 'alice',
    attempts: 1,
    setbacks: 0,
  },
  ...{ createdMs: 1, updatedMs: 2, pinned: false, sequence: 3 },
  tasks: { count: 1, done: 0, running: 1 },
  checkpointsLost: 0,
  progress: { done: 5, total: 10, unit: 'steps', figures: { fvu: 0.25, l0: 12.5 } },
};

test('a running job’s figures are told as numbers, and as words where it has none of its own', () => {
  const { progress } = jobMessage(view);
  assert.deepEqual(progress?.figures, [
    { name: 'fvu', value: 0.25 },
    { name: 'l0', value: 12.5 },
  ]);
  assert.equal(progress?.message, 'fvu 0.2500, l0 12.50');
  const own = { ...view, progress: { done: 1, total: 2, unit: 'steps', message: 'FVU 0.25' } };
  assert.equal(jobMessage(own).progress?.message, 'FVU 0.25');
  assert.deepEqual(jobMessage(own).progress?.figures, []);
});

test('what jobs wait for is said of those that could go on', () => {
  const waits = (status: JobView['status']) => jobMessage({ ...view, status }, 'blobs').waits_for;
  assert.deepEqual((['queued', 'running'] as const).map(waits), ['blobs', 'blobs']);
  const others = ['paused', 'completed', 'failed', 'cancelled'] as const;
  assert.deepEqual(others.map(waits), ['', '', '', '']);
});

test('pauses and drains are no retries', () => {
  const { retries } = jobMessage({ ...view, attempts: 4, setbacks: 1 });
  assert.equal(retries, 1);
});
