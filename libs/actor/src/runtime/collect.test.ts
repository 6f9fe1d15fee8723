import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { Journal } from '@heddle/ports';
import { CountingMetrics, countingKind, countingResult, JobWorld } from '@heddle/testkit';
import type { JobKind } from './job-kind.ts';

const REQUEST = { seed: 7, steps: 20, every: 5, stepMs: 1_000 };

test('gc frees at once what no pinned or unfinished job needs, and says so', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);
  const pinned = await runtime.submit('count.steps', REQUEST, { pinned: true });
  const other = await runtime.submit('count.steps', { ...REQUEST, seed: 8 });
  await world.clock.run(runtime.wait(other.id));
  const unfinished = await runtime.submit('count.steps', { ...REQUEST, seed: 9 });
  await world.clock.advance(7_500);

  const planned = await runtime.gc({ dryRun: true });
  const freed = await runtime.gc();

  assert.deepEqual(
    freed.jobs.map(({ id, reason }) => [id, reason]),
    [[other.id, 'asked']],
  );
  assert.deepEqual([planned.blobs, planned.dryRun], [freed.blobs, true]);
  assert.equal(freed.blobs.count, 1);
  assert.ok(freed.journalBytes > 0);
  await assert.rejects(runtime.get(other.id), { code: 'not_found' });
  assert.equal(await world.text(runtime, pinned.id), countingResult(REQUEST));
  await world.clock.run(runtime.wait(unfinished.id));
  assert.equal((await runtime.get(unfinished.id)).status, 'completed');
});

test('within budgets gc leaves results, and frees what a worker left that died', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);
  const job = await runtime.submit('count.steps', REQUEST);
  await world.clock.run(runtime.wait(job.id));
  await world.blobs.put(new TextEncoder().encode('left by a worker that died'));

  assert.equal((await runtime.gc({ withinBudgets: true })).blobs.count, 0, 'it may live');
  await world.clock.advance(1_000_000);
  const { jobs, blobs } = await runtime.gc({ withinBudgets: true });

  assert.deepEqual([jobs.length, blobs], [0, { count: 1, bytes: 26 }]);
  assert.equal(await world.text(runtime, job.id), countingResult(REQUEST));
});

test('what is past the budget of its kind goes by itself, the oldest first', async () => {
  const world = new JobWorld();
  const counting = { ...countingKind(), limits: { retainedBytesMax: 40 } } as unknown as JobKind;
  const runtime = await world.started([counting]);
  const ids: string[] = [];
  for (let seed = 0; seed < 4; seed++) {
    const { id } = await runtime.submit('count.steps', { ...REQUEST, seed }); // 16 bytes each
    await world.clock.run(runtime.wait(id));
    ids.push(id);
  }

  await world.clock.advance(4_000_000);

  const { jobs } = await runtime.list();
  assert.deepEqual(
    jobs.map(({ id }) => id),
    [ids[3], ids[2]],
  );
});

/** A kind of another service: the same work under another name. */
function otherKind(): JobKind {
  return { ...countingKind(), kind: 'other.steps' } as unknown as JobKind;
}

test('by itself a process forgets only jobs of kinds that it runs, and takes no blob that any job names', async () => {
  const world = new JobWorld();
  const counting = { ...countingKind(), limits: { retainedBytesMax: 0 } } as unknown as JobKind;
  const one = await world.started([counting]);
  const other = await world.started([otherKind()], { metrics: new CountingMetrics() });
  const mine = await one.submit('count.steps', REQUEST);
  const theirs = await other.submit('other.steps', { ...REQUEST, seed: 8 });
  await world.clock.run(Promise.all([one.wait(mine.id), other.wait(theirs.id)]));
  await world.clock.advance(8_000_000); // both collect

  assert.equal(
    await world.text(other, theirs.id),
    countingResult({ ...REQUEST, seed: 8 }),
    'a budget that is not known here was not applied',
  );
  await assert.rejects(other.get(mine.id), { code: 'not_found' });

  // Asked to, any process frees what nobody needs, whoever ran it: no budget is in question.
  const asked = await one.gc();
  assert.deepEqual(
    asked.jobs.map(({ id }) => id),
    [theirs.id],
  );
});

test('what another process collected is gone here too, and its key begins a new job', async () => {
  const world = new JobWorld();
  const [one, other] = [
    await world.started([countingKind()]),
    await world.started([countingKind()]),
  ];
  const { id } = await one.submit('count.steps', REQUEST, { key: 'k' });
  await world.clock.run(Promise.all([one.wait(id), other.wait(id)]));
  assert.equal((await other.get(id)).status, 'completed');

  await one.gc();

  await assert.rejects(other.get(id), { code: 'not_found' });
  await assert.rejects(other.pin(id), { code: 'not_found' });
  const again = await other.submit('count.steps', REQUEST, { key: 'k' });
  assert.deepEqual([again.id, again.status], [id, 'queued']);
  await world.clock.run(one.wait(id));
  assert.equal(await world.text(one, id), countingResult(REQUEST));
});

/** A collector that is held up between its plan and what it frees; the others meanwhile. */
async function collectedLate(meanwhile: (world: JobWorld, id: string) => Promise<unknown>) {
  const world = new JobWorld();
  const gate = Promise.withResolvers<void>();
  const slow = new Proxy(world.journal, {
    get(target, name: keyof Journal) {
      if (name === 'bytes') return () => gate.promise.then(() => target.bytes());
      const value = target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const late = await world.started([countingKind()], { journal: slow });
  const { id } = await late.submit('count.steps', REQUEST);
  await world.clock.run(late.wait(id));
  await world.clock.advance(1_000_000);
  const collected = late.gc();
  await world.clock.advance(1); // it has its plan
  await meanwhile(world, id);
  gate.resolve();
  return { world, id, report: await world.clock.run(collected) };
}

for (const use of ['touch', 'pin'] as const) {
  test(`a ${use} by another process after a collection was planned keeps the job and its blobs`, async () => {
    const { world, id, report } = await collectedLate(async (stores, job) => {
      const other = await stores.started([countingKind()]);
      await other[use](job);
    });

    assert.deepEqual([report.jobs.length, report.blobs.count], [0, 0]);
    const fresh = await world.started([countingKind()]);
    assert.equal(await world.text(fresh, id), countingResult(REQUEST));
  });
}

test('two processes that collect at once free everything once and fail nowhere', async () => {
  const { world, id, report } = await collectedLate(async (stores) => {
    const other = await stores.started([countingKind()]);
    assert.equal((await other.gc()).jobs.length, 1);
  });

  assert.ok(report.jobs.length <= 1);
  assert.deepEqual(await world.journal.read(`job.${id}`), []);
  for await (const { digest } of world.blobs.list()) assert.fail(`${digest} is left`);
});

test('a job submitted anew while an old collection still runs is not collected with the old one', async () => {
  const { world, id } = await collectedLate(async (stores, job) => {
    const other = await stores.started([countingKind()]);
    const { key } = await other.get(job);
    await other.gc();
    assert.equal((await other.submit('count.steps', REQUEST, { key })).id, job);
  });

  const fresh = await world.started([countingKind()]);
  await world.clock.run(fresh.wait(id));
  assert.equal(await world.text(fresh, id), countingResult(REQUEST));
});

test('a collector that died between the end of a journal and its removal blocks nobody', async () => {
  const world = new JobWorld();
  const dying = new Proxy(world.journal, {
    get(target, name: keyof Journal) {
      if (name === 'remove') return () => Promise.reject(new Error('died here'));
      const value = target[name];
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  const first = await world.started([countingKind()], { journal: dying });
  const { id } = await first.submit('count.steps', REQUEST, { key: 'k' });
  await world.clock.run(first.wait(id));
  await assert.rejects(first.gc(), /died here/);

  const other = await world.started([countingKind()]);
  await assert.rejects(other.get(id), { code: 'not_found' });
  assert.deepEqual((await other.list()).jobs, []);
  assert.equal((await other.gc()).blobs.count, 0, 'its blobs are as young as any');
  assert.deepEqual(await world.journal.read(`job.${id}`), [], 'swept');
  const again = await other.submit('count.steps', REQUEST, { key: 'k' });
  await world.clock.run(other.wait(again.id));
});

test('when it is unknown what others keep, nothing is collected', async () => {
  const world = new JobWorld();
  const roots = () => Promise.reject(new OperationError({ code: 'unavailable', message: 'away' }));
  const runtime = await world.started([countingKind()], { roots });
  const { id } = await runtime.submit('count.steps', REQUEST);
  await world.clock.run(runtime.wait(id));

  await assert.rejects(runtime.gc(), { code: 'unavailable' });

  assert.equal(await world.text(runtime, id), countingResult(REQUEST));
});
