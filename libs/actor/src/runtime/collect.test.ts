import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countingKind, countingResult, JobWorld } from '@heddle/testkit';
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
