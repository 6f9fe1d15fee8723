import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '@heddle/ports';
import { JobWorld, TestCallers } from '@heddle/testkit';
import { JOB_LIMITS, KIND_DEFAULTS } from '../limits.ts';
import type { JobKind, TaskOutput } from './job-kind.ts';
import type { JobRuntime } from './job-runtime.ts';

const { windowTasks } = JOB_LIMITS;
const TASK_MS = 100;

/** Tenants of tasks and reductions as they end, and a kind whose tasks take a tenth of a second. */
class Line extends JobWorld {
  readonly callers = new TestCallers();
  readonly ended: string[] = [];
  readonly kind: JobKind = {
    kind: 'test.parts',
    limits: { concurrency: 2, queuedMax: 10_000 },
    split: (request) => Array.from({ length: Number(request) }, () => ({ input: null })),
    run: (_task, { clock }) => this.work(clock),
    reduce: (_task, _results, { clock }) => this.work(clock),
  };

  private async work(clock: Clock): Promise<TaskOutput> {
    await clock.sleep(TASK_MS);
    this.ended.push(this.callers.current().tenant);
    return { bytes: new Uint8Array() };
  }

  replica(clock: Clock = this.clock): Promise<JobRuntime> {
    return this.started([this.kind], { callers: this.callers, clock });
  }

  async submit(runtime: JobRuntime, tenant: string, tasks: number): Promise<string> {
    const submitted = this.callers.as(tenant, () => runtime.submit('test.parts', tasks));
    return (await this.clock.run(submitted)).id;
  }

  async onQueue(tenant: string): Promise<number> {
    return (await this.queue.keys('tasks.test.parts', tenant)).length;
  }
}

test('a newcomer is done after at most two windows of who was there before', async (t) => {
  const line = new Line();
  const runtime = await line.replica();
  await line.submit(runtime, 'alice', 500);
  await line.clock.advance(2_000);
  const before = line.ended.length;
  assert.ok(before >= 30, 'alone, alice gets everything');

  const bobs = await line.submit(runtime, 'bob', 5);
  await line.clock.run(runtime.wait(bobs));

  const meanwhile = line.ended.slice(before).filter((tenant) => tenant === 'alice').length;
  t.diagnostic(`${meanwhile} tasks of alice ended before bob's 5 were done`);
  assert.equal(line.ended.filter((tenant) => tenant === 'bob').length, 6, 'and its reduction');
  assert.ok(meanwhile <= 2 * windowTasks, `${meanwhile}`);
});

test('tenants with work get equal shares, however they cut it into jobs, over two replicas', async (t) => {
  const line = new Line();
  const [one, other] = [await line.replica(), await line.replica()];
  await line.submit(one, 'alice', 800);
  for (let i = 0; i < 8; i++) await line.submit(other, 'bob', 100);
  const mixed = (i: number) => 1 + (i % 2);
  for (let i = 0; i < 300; i++) await line.submit(i % 3 ? one : other, 'carol', mixed(i));
  await line.clock.advance(6_000); // past the first window, which alice filled before the others came
  const from = line.ended.length;

  await line.clock.advance(24_000);

  const share = (tenant: string) => line.ended.slice(from).filter((one) => one === tenant).length;
  const shares = ['alice', 'bob', 'carol'].map(share);
  t.diagnostic(`tasks of three tenants in the same time: ${shares.join(', ')}`);
  assert.ok(Math.min(...shares) > 0.75 * Math.max(...shares), shares.join(' '));
});

test('a small job is not kept waiting by a large one of the same tenant', async (t) => {
  const line = new Line();
  const [one, other] = [await line.replica(), await line.replica()];
  const large = await line.submit(one, 'alice', 500);
  await line.clock.advance(1_000);
  const before = line.ended.length;

  const small = await line.submit(other, 'alice', 5);
  await line.clock.run(other.wait(small));

  t.diagnostic(`${line.ended.length - before} tasks ended until the small job's 5 were done`);
  assert.ok(line.ended.length - before <= 2 * windowTasks);
  await line.clock.run(one.wait(large));
});

test('of a hundred jobs no more than a window is on the queue, and the workers never starve', async () => {
  const line = new Line();
  const runtime = await line.replica();
  const ids: string[] = [];
  for (let i = 0; i < 200; i++) ids.push(await line.submit(runtime, 'alice', 1));

  assert.equal(await line.onQueue('alice'), windowTasks);
  const startMs = line.clock.monotonic();
  for (const id of ids) await line.clock.run(runtime.wait(id));

  const idealMs = (400 * TASK_MS) / 2; // each a task and its reduction
  const tookMs = line.clock.monotonic() - startMs;
  assert.ok(tookMs < 1.1 * idealMs, `${tookMs} ms, ${idealMs} is what two at a time need`);
});

test('what a process held when it died is taken up by another within the reconciler’s time', async () => {
  const line = new Line();
  let dead = false;
  const { clock } = line;
  const mortal: Clock = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: async (ms, signal) => {
      await clock.sleep(ms, signal);
      if (dead) await new Promise(() => undefined);
    },
  };
  const gone = await line.replica(mortal);
  const ids: string[] = [];
  for (let i = 0; i < 120; i++) ids.push(await line.submit(gone, 'alice', 1));
  dead = true;

  const heir = await line.replica();
  const startMs = clock.monotonic();
  for (const id of ids) await clock.run(heir.wait(id));

  // What it had in hand comes back after the ack wait.
  const ideallyMs = 120 * TASK_MS + JOB_LIMITS.reconcileEveryMs + KIND_DEFAULTS.ackWaitMs;
  assert.ok(clock.monotonic() - startMs < ideallyMs + 5_000, `${clock.monotonic() - startMs} ms`);
});

test('two processes that push for one tenant stay within a window each', async () => {
  const line = new Line();
  const replicas = [await line.replica(), await line.replica()];
  const submits = Array.from({ length: 300 }, (_, i) =>
    line.callers.as('alice', () => replicas[i % 2]?.submit('test.parts', 1)),
  );
  await line.clock.run(Promise.all(submits));

  assert.ok((await line.onQueue('alice')) <= 2 * windowTasks);
  await line.clock.advance(10_000);
  assert.ok((await line.onQueue('alice')) <= windowTasks, 'and settle in one');
});
