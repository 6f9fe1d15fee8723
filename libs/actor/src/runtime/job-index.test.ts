import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Journal, WorkQueue } from '@heddle/ports';
import { CountingMetrics, countingKind, JobWorld } from '@heddle/testkit';
import { JOB_LIMITS } from '../limits.ts';
import type { JobKind } from './job-kind.ts';

const REQUEST = { seed: 7, steps: 3, every: 5, stepMs: 100 };

/** Counts the calls of one method. */
function counted<T extends object>(target: T, method: keyof T): { port: T; calls: () => number } {
  let calls = 0;
  const port = new Proxy(target, {
    get(of, name) {
      const value = of[name as keyof T];
      if (typeof value !== 'function') return value;
      if (name === method) calls += 1;
      return value.bind(of);
    },
  });
  return { port, calls: () => calls };
}

/** Never works: what it submits stays as it is. */
function idleKind(): JobKind {
  return {
    kind: 'test.idle',
    limits: { queuedMax: 100_000 },
    split: () => [{ input: null }],
    run: (_task, { signal }) =>
      new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
  };
}

test('a pass over jobs to which nothing happened reads none of them and pushes nothing', async () => {
  const world = new JobWorld();
  const submitter = world.runtime([idleKind()]);
  for (let i = 0; i < 300; i++) await submitter.submit('test.idle', i);
  const reads = counted<Journal>(world.journal, 'read');
  const pushes = counted<WorkQueue>(world.queue, 'push');
  await world.started([idleKind()], { journal: reads.port, queue: pushes.port });
  await world.clock.advance(JOB_LIMITS.reconcileEveryMs);
  const [readsBefore, pushesBefore] = [reads.calls(), pushes.calls()];

  await world.clock.advance(5_000);
  const betweenPasses = reads.calls() - readsBefore; // the lease of the one task that runs
  await world.clock.advance(10 * JOB_LIMITS.reconcileEveryMs - 5_000);

  const inPasses = reads.calls() - readsBefore - 60 * betweenPasses;
  assert.ok(inPasses < 30, `${inPasses} reads in ten passes over 300 jobs`);
  assert.equal(pushes.calls() - pushesBefore, 0);
});

test('a list reads only the jobs that it shows, and once', async () => {
  const world = new JobWorld();
  const submitter = world.runtime([idleKind()]);
  for (let i = 0; i < 300; i++) {
    await submitter.submit('test.idle', i);
    await world.clock.advance(1);
  }
  const reads = counted<Journal>(world.journal, 'read');
  const runtime = world.runtime([idleKind()], { journal: reads.port });
  await runtime.list({ limit: 10 });
  const first = reads.calls();

  const { jobs, next } = await runtime.list({ limit: 10 });
  assert.deepEqual([jobs.length, next], [10, jobs[9]?.id]);
  assert.equal(reads.calls() - first, 0, 'nothing changed');

  await submitter.cancel(jobs[3]?.id ?? '');
  const again = await runtime.list({ limit: 10 });
  assert.equal(again.jobs[3]?.status, 'cancelled');
  assert.ok(reads.calls() - first <= 2, 'the one that changed');
});

test('pages do not overlap while jobs come, and a page after a collected job says so', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);
  const submit = async (seed: number) => {
    const { id } = await runtime.submit('count.steps', { ...REQUEST, seed });
    await world.clock.advance(1);
    return id;
  };
  const ids: string[] = [];
  for (let i = 0; i < 6; i++) ids.unshift(await submit(i));

  const first = await runtime.list({ limit: 3 });
  await submit(100);
  const second = await runtime.list({ limit: 3, before: first.next ?? '' });
  assert.deepEqual(
    [...first.jobs, ...second.jobs].map(({ id }) => id),
    ids,
  );

  for (const id of ids) await world.clock.run(runtime.wait(id));
  await runtime.gc();
  await assert.rejects(runtime.list({ before: first.next ?? '' }), {
    code: 'invalid_argument',
    field: 'after',
  });
});

test('a job that no process knows the kind of is helped when nobody did for long', async () => {
  const world = new JobWorld();
  const lost = new Proxy(world.queue, {
    get(of, name: keyof WorkQueue) {
      if (name === 'push') return () => Promise.reject(new Error('crashed in between'));
      const value = of[name];
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
  const submitter = world.runtime([idleKind()], { queue: lost });
  await submitter.submit('test.idle', 1);
  // Only a service of another kind is up: this one's may be scaled down to none until something is on its queue.
  await world.started([countingKind()], { metrics: new CountingMetrics() });

  await world.clock.advance(JOB_LIMITS.foreignAfterMs - 1_000);
  assert.deepEqual(await world.queue.depth('tasks.test.idle'), { waiting: 0, working: 0 });
  await world.clock.advance(JOB_LIMITS.reconcileEveryMs + 1_000);
  assert.deepEqual(await world.queue.depth('tasks.test.idle'), { waiting: 1, working: 0 });
});

test('lost races are counted by what was decided', async () => {
  const world = new JobWorld();
  const runtime = await world.started([idleKind()]);
  const { id } = await runtime.submit('test.idle', 1);
  let overtaken = false;
  const slow = new Proxy(world.journal, {
    get(of, name: keyof Journal) {
      if (name === 'append' && !overtaken) {
        overtaken = true;
        return async (...append: Parameters<Journal['append']>) => {
          await runtime.pin(id); // decided and committed while this one is on its way
          return of.append(...append);
        };
      }
      const value = of[name];
      return typeof value === 'function' ? value.bind(of) : value;
    },
  });
  const metrics = new CountingMetrics();
  const other = await world.started([countingKind()], { journal: slow, metrics });

  const paused = await other.pause(id);

  assert.deepEqual([paused.status, paused.pinned], ['paused', true]);
  assert.equal(metrics.value('jobs_appends_fenced_total', { message: 'pause' }), 1);
});

test('list pages from the newest back and filters', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    ids.unshift((await runtime.submit('count.steps', { ...REQUEST, seed: i })).id);
    await world.clock.advance(1);
  }
  await runtime.cancel(ids[1] ?? '');

  const first = await runtime.list({ limit: 2 });
  assert.deepEqual(
    first.jobs.map(({ id }) => id),
    ids.slice(0, 2),
  );
  const second = await runtime.list({ limit: 5, before: first.next ?? '' });
  assert.deepEqual(
    second.jobs.map(({ id }) => id),
    ids.slice(2),
  );
  const cancelled = await runtime.list({ statuses: ['cancelled'] });
  assert.deepEqual(
    cancelled.jobs.map(({ id }) => id),
    [ids[1]],
  );
  assert.deepEqual((await runtime.list({ kind: 'other.kind' })).jobs, []);
});

test('a damaged journal is reported as such, hides no other job, and stops a collection', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);
  const whole = await runtime.submit('count.steps', REQUEST);
  const damaged = await runtime.submit('count.steps', { ...REQUEST, seed: 8 });
  await world.clock.run(runtime.wait(damaged.id));
  const events = await world.journal.read(`job.${damaged.id}`);
  const last = events.at(-1)?.sequence ?? 0;
  await world.journal.append(`job.${damaged.id}`, last, [new TextEncoder().encode('{"v":1}')]);

  await assert.rejects(runtime.get(damaged.id), { code: 'data_loss' });
  assert.deepEqual(
    (await runtime.list()).jobs.map(({ id }) => id),
    [whole.id],
  );
  await assert.rejects(runtime.gc(), { code: 'data_loss' });
});
