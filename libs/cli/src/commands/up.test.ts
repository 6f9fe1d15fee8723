import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failedPrecondition } from '@heddle/core';
import type { BringUpOptions, ClusterHost } from '../cluster-host.ts';
import { fakeIo } from '../fake-cluster.ts';
import { heddleCommand } from '../heddle-command.ts';

/** What `up` asked for, by a host that has nothing. */
async function asked(argv: readonly string[], environment: Record<string, string>) {
  const seen: BringUpOptions[] = [];
  const host: ClusterHost = {
    findOwner: async () => undefined,
    bringUp: async (options) => {
      seen.push(options);
      throw failedPrecondition('nothing here');
    },
  };
  const io = fakeIo('/');
  const status = await heddleCommand(argv, { ...io, environment }, host);
  return { status, err: io.err.join(''), options: seen[0] };
}

test('HEDDLE_SERVICES is what `up` brings up where --services does not say otherwise', async () => {
  const image = await asked(['up'], { HEDDLE_SERVICES: 'lorsa' });
  assert.deepEqual(image.options?.contracts, ['lorsa']);
  const said = await asked(['up', '--services', 'qk,circuit'], { HEDDLE_SERVICES: 'lorsa' });
  assert.deepEqual(said.options?.contracts, ['qk', 'circuit']);
  const door = await asked(['up'], { HEDDLE_SERVICES: 'explorer' });
  assert.equal(door.options?.frontDoor, true);
});

test('not set or empty, HEDDLE_SERVICES means all; a name that is none is refused with those that are', async () => {
  for (const environment of [{}, { HEDDLE_SERVICES: '' }]) {
    assert.equal((await asked(['up'], environment)).options?.contracts.length, 5);
  }
  const wrong = await asked(['up'], { HEDDLE_SERVICES: 'lora' });
  assert.equal(wrong.status, 2);
  assert.match(wrong.err, /there is no lora; there are activation,/);
});
