import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { countingKind, JobWorld, TestCallers } from '@heddle/testkit';
import { TENANT_QUOTAS } from '../limits.ts';
import type { JobKind } from './job-kind.ts';

const REQUEST = { seed: 7, steps: 3, every: 5, stepMs: 100 };
const SIGNAL = new AbortController().signal;

async function world(options: Parameters<JobWorld['started']>[1] = {}) {
  const world = new JobWorld();
  const callers = new TestCallers();
  const runtime = await world.started([countingKind()], { callers, ...options });
  return { world, callers, runtime };
}

const code = (expected: string, field?: string) => (error: unknown) => {
  assert.ok(error instanceof OperationError, String(error));
  assert.deepEqual([error.code, error.field], [expected, field], error.message);
  return true;
};

test('the same key of two tenants is two jobs, and without a tenant the id is what it was', async () => {
  const { callers, runtime } = await world();
  const submit = () => runtime.submit('count.steps', REQUEST, { key: 'nightly' });

  const nobodys = await submit();
  const alices = await callers.as('alice', submit);
  const bobs = await callers.as('bob', submit);

  assert.equal(nobodys.id, 'count-steps-8a9e3ffc2985'); // as every journal before there were tenants has it
  assert.equal(new Set([nobodys.id, alices.id, bobs.id]).size, 3);
  assert.deepEqual([nobodys.tenant, alices.tenant, bobs.tenant], ['', 'alice', 'bob']);
  assert.equal((await callers.as('alice', submit)).id, alices.id);
  for (const { id } of [alices, bobs]) assert.match(id, /^count-steps-[0-9a-f]{20}$/);
});

test('a job of another tenant is not there, whatever is asked of it, but for an admin', async () => {
  const { world: stores, callers, runtime } = await world();
  const { id } = await callers.as('alice', () => runtime.submit('count.steps', REQUEST));
  const asked: readonly ((id: string) => Promise<unknown>)[] = [
    (job) => runtime.get(job),
    (job) => runtime.find(job.slice(0, -2)),
    (job) => runtime.cancel(job),
    (job) => runtime.pause(job),
    (job) => runtime.resume(job),
    (job) => runtime.pin(job),
    (job) => runtime.touch(job),
    (job) => runtime.result(job),
    (job) => runtime.checkpoint(job),
    (job) => runtime.watch(job, SIGNAL)[Symbol.asyncIterator]().next(),
  ];

  for (const ask of asked) {
    const refusal = (job: string): Promise<OperationError> =>
      callers.as('bob', () => ask(job)).then(() => assert.fail('answered'), OperationError.from);
    const absent = await refusal('count-steps-000000000000');
    const others = await refusal(id);
    assert.equal(others.code, 'not_found', String(ask));
    assert.equal(absent.code, 'not_found', String(ask));
    const anonymous = (error: Error) => error.message.replaceAll(/count-steps-\w+/g, 'JOB');
    assert.equal(anonymous(others), anonymous(absent), 'nothing tells one from the other');
  }
  await stores.clock.run(callers.as('alice', () => runtime.wait(id)));
  assert.equal((await callers.as('alice', () => runtime.get(id))).status, 'completed');
  const admin = { tenant: 'root', role: 'admin' } as const;
  assert.equal((await callers.run(admin, () => runtime.find(id))).tenant, 'alice');
});

test('a list has the caller’s own; an admin sees all, or one tenant’s', async () => {
  const { world: stores, callers, runtime } = await world();
  for (const tenant of ['alice', 'bob', 'alice']) {
    await callers.as(tenant, () => runtime.submit('count.steps', REQUEST));
    await stores.clock.advance(1);
  }
  const tenants = async (options = {}) =>
    (await runtime.list(options)).jobs.map(({ tenant }) => tenant);

  assert.deepEqual(await callers.as('alice', tenants), ['alice', 'alice']);
  assert.deepEqual(await callers.as('carol', tenants), []);
  assert.deepEqual(await tenants(), ['alice', 'bob', 'alice']);
  assert.deepEqual(await tenants({ tenant: 'bob' }), ['bob']);
  const others = callers.as('alice', () => tenants({ tenant: 'bob' }));
  await assert.rejects(others, code('permission_denied', 'tenant'));
  await assert.rejects(
    callers.as('alice', () => runtime.gc()),
    code('permission_denied'),
  );
});

test('a task runs in the name of its job’s owner, also after another process took it up', async () => {
  const stores = new JobWorld();
  const callers = new TestCallers();
  const seen: string[] = [];
  const kind: JobKind = {
    kind: 'test.ask',
    split: () => [{ input: null }, { input: null }],
    async run(_task, context) {
      await context.clock.sleep(10);
      const { tenant, role } = callers.current();
      seen.push(`${tenant} ${role}`);
      return { bytes: new Uint8Array([1]) };
    },
    async reduce(_task, _results, context) {
      await context.clock.sleep(10);
      seen.push(`reduce ${callers.current().tenant}`);
      return { bytes: new Uint8Array([2]) };
    },
  };
  const idle = stores.runtime([kind], { callers });
  const admin = { tenant: 'ana', role: 'admin' } as const;
  const { id } = await callers.run(admin, () => idle.submit('test.ask', {}));

  const worker = await stores.started([kind], { callers });
  await stores.clock.run(worker.wait(id));

  assert.deepEqual(seen, ['ana run', 'ana run', 'reduce ana']);
});

test('a tenant past a quota is told which, and when to try again; others are not', async () => {
  const quotas = (tenant: string) =>
    tenant === 'alice' ? { ...TENANT_QUOTAS, jobsMax: 2, tasksMax: 2 } : TENANT_QUOTAS;
  const { world: stores, callers, runtime } = await world({ quotas });
  const submit = (key: string) => runtime.submit('count.steps', REQUEST, { key });
  const first = await callers.as('alice', () => submit('1'));
  await callers.as('alice', () => submit('2'));

  await assert.rejects(
    callers.as('alice', () => submit('3')),
    (error) => {
      assert.ok(error instanceof OperationError && error.code === 'resource_exhausted');
      assert.ok((error.retryAfterMs ?? 0) > 0);
      assert.deepEqual(error.details, { quota: 'jobs', limit: 2, usage: 2, tenant: 'alice' });
      return true;
    },
  );
  assert.equal((await callers.as('alice', () => submit('1'))).id, first.id, 'no new job');
  await callers.as('bob', () => submit('3'));
  assert.equal(stores.metrics.value('jobs_refused_total', { reason: 'quota' }), 1);

  await stores.clock.run(runtime.wait(first.id));
  await callers.as('alice', () => submit('3'));
});

test('a job of more tasks than the quota is refused for good, and many at once pass no quota', async () => {
  const stores = new JobWorld();
  const callers = new TestCallers();
  const kind: JobKind = {
    kind: 'test.parts',
    split: (request) => Array.from({ length: Number(request) }, () => ({ input: null })),
    run: (_task, { clock }) => clock.sleep(1e9).then(() => ({ bytes: new Uint8Array() })),
  };
  const quotas = () => ({ ...TENANT_QUOTAS, jobsMax: 4, tasksMax: 20 });
  const runtime = await stores.started([kind], { callers, quotas });
  const submit = (tasks: number) => callers.as('alice', () => runtime.submit('test.parts', tasks));

  await assert.rejects(submit(30), (error) => {
    assert.ok(error instanceof OperationError && error.code === 'resource_exhausted');
    assert.deepEqual([error.retryable, error.details?.['quota']], [false, 'tasks']);
    return true;
  });
  const many = await Promise.allSettled(Array.from({ length: 12 }, () => submit(1)));

  assert.equal(many.filter(({ status }) => status === 'fulfilled').length, 4);
});

test('quotas count what other replicas accepted a second ago', async () => {
  const stores = new JobWorld();
  const callers = new TestCallers();
  const quotas = () => ({ ...TENANT_QUOTAS, jobsMax: 3 });
  const one = await stores.started([countingKind()], { callers, quotas });
  const other = await stores.started([countingKind()], { callers, quotas });
  const submit = (runtime: typeof one) =>
    callers.as('alice', () => runtime.submit('count.steps', { ...REQUEST, steps: 900 }));
  for (let i = 0; i < 3; i++) await submit(one);
  await stores.clock.advance(1_100);

  await assert.rejects(submit(other), code('resource_exhausted'));
});

test('what a tenant’s results keep is counted with what they name, and freed past its quota', async () => {
  const stores = new JobWorld();
  const callers = new TestCallers();
  const kind: JobKind = {
    kind: 'test.make',
    split: () => [{ input: null }],
    async run({ request }, { blobs }) {
      const { digest } = await blobs.put(new Uint8Array(1_000).fill(Number(request)));
      return { bytes: new Uint8Array(10).fill(Number(request)), references: [digest] };
    },
  };
  const quotas = () => ({ ...TENANT_QUOTAS, retainedBytesMax: 2_500 });
  const runtime = await stores.started([kind], { callers, quotas });
  const make = (tenant: string, n: number) =>
    callers.as(tenant, async () => {
      const { id } = await runtime.submit('test.make', n);
      await runtime.wait(id);
      return id;
    });
  const ids: string[] = [];
  for (let n = 0; n < 3; n++) ids.push(await stores.clock.run(make('alice', n)));
  await stores.clock.run(make('bob', 9));

  await assert.rejects(make('alice', 4), (error) => {
    assert.ok(error instanceof OperationError);
    assert.deepEqual(error.details, {
      ...{ quota: 'retained_bytes', limit: 2_500, usage: 3_030, tenant: 'alice' },
    });
    return true;
  });

  await stores.clock.advance(4_000_000); // the hourly collection
  const left = (await runtime.list()).jobs.map(({ id }) => id);
  assert.deepEqual([left.length, left.includes(ids[0] ?? '')], [3, false], 'the oldest went');
  await stores.clock.run(make('alice', 4));
});

test('a client key has at most 128 bytes, not characters', async () => {
  const { runtime } = await world();

  await runtime.submit('count.steps', REQUEST, { key: 'k'.repeat(128) });
  const long = runtime.submit('count.steps', REQUEST, { key: 'ключ'.repeat(17) });
  await assert.rejects(long, code('invalid_argument', 'client_key'));
});
