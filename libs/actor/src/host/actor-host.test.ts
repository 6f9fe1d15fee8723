import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countingKind, JobWorld } from '@heddle/testkit';

const REQUEST = { seed: 7, steps: 4, every: 50, stepMs: 100 };

test('what is decided on a removed job never lands in a new one of the same name and length', async () => {
  const world = new JobWorld();
  const worker = await world.started([countingKind()]);
  const stale = world.runtime([countingKind()]); // looks at jobs only when asked
  const finish = async () => {
    const { id } = await worker.submit('count.steps', REQUEST, { key: 'k' });
    await world.clock.run(worker.wait(id));
    return id;
  };
  const id = await finish();
  const before = await stale.get(id);
  await worker.gc();
  await finish();
  const after = await worker.get(id);
  assert.equal(after.sequence, before.sequence, 'as long as the one before');
  assert.ok(after.createdMs > before.createdMs);

  const touched = await stale.pin(id);

  assert.deepEqual([touched.createdMs, touched.pinned], [after.createdMs, true]);
  assert.deepEqual(await worker.get(id), touched);
});
