import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PullOptions } from '@heddle/ports';
import { JobWorld } from '@heddle/testkit';
import type { JobKind } from './job-kind.ts';

test('a kind of four slots works on four tasks at a time, and asks the queue once at a time', async () => {
  const world = new JobWorld();
  let [working, most, pulls, mostPulls] = [0, 0, 0, 0];
  const kind: JobKind = {
    kind: 'test.slots',
    limits: { concurrency: 4 },
    split: () => Array.from({ length: 10 }, () => ({ input: null })),
    async run(_task, { clock }) {
      working += 1;
      most = Math.max(most, working);
      await clock.sleep(1_000);
      working -= 1;
      return { bytes: new Uint8Array() };
    },
  };
  const { queue } = world;
  const pull = queue.pull.bind(queue);
  queue.pull = async (name: string, options: PullOptions) => {
    pulls += 1;
    mostPulls = Math.max(mostPulls, pulls);
    try {
      return await pull(name, options);
    } finally {
      pulls -= 1;
    }
  };
  const runtime = await world.started([kind]);

  const { id } = await world.clock.run(runtime.submit('test.slots', null));
  await world.clock.run(runtime.wait(id));
  await world.clock.advance(60_000);

  assert.equal(most, 4);
  assert.equal(mostPulls, 1);
  await world.clock.run(runtime.stop(0));
});
