import assert from 'node:assert/strict';
import { test } from 'node:test';
import { JobWorld } from '@heddle/testkit';
import type { JobKind } from './job-kind.ts';

/** More than the ten seconds between two looks at queues and jobs. */
const LOOK_MS = 11_000;

const slow: JobKind = {
  kind: 'test.slow',
  limits: { concurrency: 2 },
  split: () => [{ input: null }],
  async run(_task, { clock, signal }) {
    await clock.sleep(120_000, signal);
    return { bytes: new Uint8Array() };
  },
};

test('slots, jobs by status, and how long the oldest has waited are seen while jobs wait for a worker, and gone when they have ended', async () => {
  const world = new JobWorld();
  const { clock, metrics } = world;
  const runtime = await world.started([slow]);
  const of = (name: string, labels = {}): number =>
    metrics.value(name, { kind: 'test.slow', ...labels });
  assert.equal(of('jobs_worker_slots'), 2);
  assert.equal(of('jobs_worker_slots_busy'), 0);

  const ids: string[] = [];
  for (const key of ['a', 'b', 'c']) {
    const { id } = await clock.run(runtime.submit('test.slow', { key }, { key }));
    ids.push(id);
  }
  await clock.advance(4 * LOOK_MS);

  assert.equal(of('jobs_worker_slots_busy'), 2);
  assert.equal(of('jobs_open', { status: 'running' }), 2);
  assert.equal(of('jobs_open', { status: 'queued' }), 1);
  const waited = of('jobs_oldest_queued_seconds');
  assert.ok(waited > 20 && waited < 60, `${waited} s`);

  for (const id of ids) await clock.run(runtime.wait(id));
  await clock.advance(2 * LOOK_MS);
  assert.equal(of('jobs_worker_slots_busy'), 0);
  assert.equal(of('jobs_open'), 0);
  assert.equal(of('jobs_oldest_queued_seconds'), 0);
  await clock.run(runtime.stop(0));
});

test('a message that is no task becomes a dead letter, and is counted', async () => {
  const world = new JobWorld();
  const runtime = await world.started([slow]);
  const dead = (): number => world.metrics.value('jobs_dead_letters', { kind: 'test.slow' });
  assert.equal(dead(), 0);

  await world.clock.run(world.queue.push('tasks.test.slow', 'odd', new Uint8Array([1, 2, 3])));
  await world.clock.advance(3 * LOOK_MS);

  assert.equal(dead(), 1);
  await world.clock.run(runtime.stop(0));
});

test('a process that only accepts jobs has no slots, and sees the queue all the same', async () => {
  const world = new JobWorld();
  const runtime = await world.started([{ ...slow, limits: { concurrency: 0 } }]);
  const of = (name: string, labels = {}): number =>
    world.metrics.value(name, { kind: 'test.slow', ...labels });

  await world.clock.run(runtime.submit('test.slow', null));
  await world.clock.advance(2 * LOOK_MS);

  assert.equal(of('jobs_worker_slots'), 0);
  assert.equal(of('jobs_queue_messages', { state: 'waiting' }), 1);
  assert.equal(of('jobs_open', { status: 'queued' }), 1);
  await world.clock.run(runtime.stop(0));
});
