import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import type { BlobDigest, Blobs } from '@heddle/ports';
import { countingKind, countingResult, JobWorld } from '@heddle/testkit';
import type { JobKind } from './job-kind.ts';

const REQUEST = { seed: 7, steps: 20, every: 5, stepMs: 1_000 };

/** Two processes: one that makes checkpoints at 5 and 10 and is drained, and what the next one does. */
async function afterDamage(damage: (world: JobWorld, cursors: readonly number[]) => Promise<void>) {
  const world = new JobWorld();
  const steps: number[] = [];
  const kind = countingKind((_job, step) => steps.push(step));
  const first = await world.started([kind]);
  const job = await first.submit('count.steps', REQUEST);
  await world.clock.advance(10_500);
  await world.clock.run(first.stop(10_000));
  const before = steps.length;
  await damage(world, steps);
  const heir = await world.started([kind]);
  const view = await world.clock.run(heir.wait(job.id));
  assert.equal(await world.text(heir, job.id), countingResult(REQUEST));
  return { world, view, from: steps[before] };
}

/** Every checkpoint on disk, newest first. */
async function checkpoints(
  world: JobWorld,
): Promise<readonly { digest: BlobDigest; at: number }[]> {
  const found: { digest: BlobDigest; at: number }[] = [];
  for await (const { digest } of world.blobs.list()) {
    const text = new TextDecoder().decode(await world.blobs.read(digest));
    const at = /"cursor":(\d+)/.exec(text)?.[1];
    if (at !== undefined) found.push({ digest, at: Number(at) });
  }
  return found.sort((a, b) => b.at - a.at);
}

test('a missing newest checkpoint falls back to the one before, to the same result, and the job says so', async () => {
  let at = 0;
  const { world, view, from } = await afterDamage(async (damaged) => {
    const [newest, before, ...others] = await checkpoints(damaged);
    assert.ok(newest && before && others.length === 0, 'two are kept, not one and not all');
    at = before.at;
    await damaged.blobs.remove(newest.digest);
  });

  assert.equal(from, at + 1, 'it went on from the one before');
  assert.equal(view.checkpointsLost, 1);
  assert.equal(world.metrics.value('jobs_checkpoints_lost_total', { kind: 'count.steps' }), 1);
  const warned = world.lines.filter(({ level }) => level === 'warn').map(({ message }) => message);
  assert.ok(
    warned.some((line) => line.includes(`is damaged: going on from ${at}`)),
    warned.join('\n'),
  );
});

test('with both checkpoints gone the task begins anew, to the same result', async () => {
  const { view, from } = await afterDamage(async (damaged) => {
    for (const { digest } of await checkpoints(damaged)) await damaged.blobs.remove(digest);
  });

  assert.deepEqual([from, view.checkpointsLost], [1, 2]);
});

test('a disk that is away for a moment costs no checkpoint', async () => {
  const world = new JobWorld();
  const away = new OperationError({ code: 'unavailable', message: 'the disk is away' });
  let broken = true;
  const blobs: Blobs = Object.assign(Object.create(world.blobs) as Blobs, {
    read: async (digest: BlobDigest) => {
      if (!broken) return world.blobs.read(digest);
      broken = false;
      throw away;
    },
  });
  const first = await world.started([countingKind()]);
  const job = await first.submit('count.steps', REQUEST);
  await world.clock.advance(10_500);
  await world.clock.run(first.stop(10_000));

  const heir = await world.started([countingKind()], { blobs });
  const view = await world.clock.run(heir.wait(job.id));

  assert.deepEqual([view.status, view.checkpointsLost, broken], ['completed', 0, false]);
});

test('the last checkpoint of a job that failed can still be read', async () => {
  const kind: JobKind = {
    kind: 'test.kind',
    split: () => [{ input: null }],
    run: async (_task, context) => {
      await context.save({ bytes: Uint8Array.of(7), cursor: 3 });
      throw new OperationError({ code: 'failed_precondition', message: 'loss is NaN' });
    },
  };
  const world = new JobWorld();
  const runtime = await world.started([kind]);
  const { id } = await runtime.submit('test.kind', null);
  assert.equal((await world.clock.run(runtime.wait(id))).status, 'failed');
  const saved = await runtime.checkpoint(id);
  assert.deepEqual([saved?.bytes[0], saved?.cursor], [7, 3]);
  await assert.rejects(runtime.checkpoint('nobody'), { code: 'not_found' });
});

test('a cancelled job has no checkpoint, which is no error: its blobs were removed', async () => {
  const world = new JobWorld();
  const runtime = await world.started([countingKind()]);
  const { id } = await runtime.submit('count.steps', REQUEST);
  const until = async (met: () => Promise<boolean>) => {
    while (!(await met())) await world.clock.sleep(500);
  };
  await world.clock.run(until(async () => (await runtime.checkpoint(id)) !== undefined));
  await runtime.cancel(id);
  assert.equal(await runtime.checkpoint(id), undefined);
});
