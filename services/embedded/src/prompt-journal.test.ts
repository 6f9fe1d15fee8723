import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openChannel, serve } from '@heddle/adapters/grpc';
import { MemoryJournal, silentLog, VirtualClock } from '@heddle/testkit';
import { promptJournal } from './prompt-journal.ts';

const AWAY = { code: 'unavailable', message: /NATS does not answer/, retryAfterMs: 5_000 };
const EVENT = [new Uint8Array([1])];

test('a journal that is known to be away says so at once, but for appends that nobody waits for', async () => {
  const state = { isAway: false };
  const journal = promptJournal(
    new MemoryJournal({ clock: new VirtualClock() }),
    () => state.isAway,
  );
  assert.equal(await journal.append('a', 0, EVENT), 1);
  state.isAway = true;
  const looks = [
    () => journal.read('a'),
    () => journal.ends(''),
    () => journal.streams('', 1),
    () => journal.bytes(),
  ];
  for (const look of looks) await assert.rejects(look(), AWAY);
  assert.equal(await journal.append('a', 1, EVENT), 2, 'a checkpoint is worth trying');
  state.isAway = false;
  assert.equal((await journal.read('a')).length, 2);
});

test('who asks over the wire is told at once when to ask again, and his channel asks once', async () => {
  const journal = promptJournal(new MemoryJournal({ clock: new VirtualClock() }), () => true);
  let asked = 0;
  const job = async (): Promise<never> => {
    asked += 1;
    await journal.append('a', 0, EVENT);
    throw new Error('appended');
  };
  const handlers = { jobs: { Get: job } };
  const server = await serve({ host: '127.0.0.1', port: 0, log: silentLog, handlers });
  const channel = openChannel(`127.0.0.1:${server.port}`);
  await assert.rejects(channel.clients.jobs.Get({ id: 'a' }), AWAY);
  assert.equal(asked, 1);
  channel.close();
  await server.close(0);
});
