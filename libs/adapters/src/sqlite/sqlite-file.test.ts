import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { temporaryFolder } from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { openSqlite } from './index.ts';

const clock = systemClock;
const NOW = { ackWaitMs: 60_000, attemptsMax: 3, waitMs: 0 };

test('a full file refuses with a type, loses nothing, and goes on when room is made', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  const { journal, queue, close } = openSqlite(path, { clock, bytesMax: 400_000 });
  const event = new Uint8Array(20_000).fill(7);
  await queue.push('tasks.a', 'k', new Uint8Array([1]));

  let appended = 0;
  const filling = (async () => {
    for (;;) appended = await journal.append('job.large', appended, [event, event]);
  })();
  await assert.rejects(filling, (error) => {
    assert.ok(error instanceof OperationError);
    assert.equal(error.code, 'resource_exhausted');
    assert.match(error.message, /heddle gc/);
    return true;
  });

  assert.ok(appended >= 4);
  assert.equal((await journal.read('job.large')).length, appended, 'all or none of an append');
  const delivery = await queue.pull('tasks.a', NOW);
  await delivery?.ack();
  assert.deepEqual(await queue.depth('tasks.a'), { waiting: 0, working: 0 });

  const fullBytes = await journal.bytes();
  await journal.remove('job.large');
  assert.ok((await journal.bytes()) < fullBytes / 4, 'the pages are given back');
  assert.equal(await journal.append('job.next', 0, [event]), 1);
  await close();
  await folder.remove();
});

test('what was written is there after closing and opening', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  const first = openSqlite(path, { clock });
  await first.journal.append('job.a', 0, [new Uint8Array([1, 2])]);
  await first.queue.push('tasks.a', 'k', new Uint8Array([3]));
  await first.close();

  const second = openSqlite(path, { clock });
  assert.deepEqual([...((await second.journal.read('job.a'))[0]?.bytes ?? [])], [1, 2]);
  assert.equal((await second.queue.pull('tasks.a', NOW))?.key, 'k');
  await second.close();
  await folder.remove();
});

test('every commit reaches the disk: WAL with full synchronisation', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  const { journal, close } = openSqlite(path, { clock });
  // What a pragma says holds for one connection only, so it is asked on the journal's own.
  const own = (journal as unknown as { file: { sql(text: string): { get(): object } } }).file;

  assert.deepEqual({ ...own.sql('PRAGMA synchronous').get() }, { synchronous: 2 });
  assert.deepEqual({ ...own.sql('PRAGMA journal_mode').get() }, { journal_mode: 'wal' });
  await close();
  await folder.remove();
});

test('a file that is no database, or a newer one, is refused with its name', async () => {
  const folder = await temporaryFolder();
  const junk = join(folder.path, 'junk.sqlite');
  await writeFile(junk, 'this is a text file, and long enough to be taken for a header'.repeat(20));
  assert.throws(
    () => openSqlite(junk, { clock }),
    (error) =>
      error instanceof OperationError && error.code === 'data_loss' && error.message.includes(junk),
  );

  const newer = join(folder.path, 'newer.sqlite');
  const database = new DatabaseSync(newer);
  database.exec('PRAGMA user_version = 99');
  database.close();
  assert.throws(
    () => openSqlite(newer, { clock }),
    (error) => error instanceof OperationError && error.code === 'failed_precondition',
  );
  assert.throws(
    () => openSqlite(join(folder.path, 'no', 'such', 'folder.sqlite'), { clock }),
    (error) => error instanceof OperationError && error.code === 'failed_precondition',
  );
  await folder.remove();
});

test('a follower hears of what another process appended', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  const ours = openSqlite(path, { clock });
  const theirs = openSqlite(path, { clock }); // another connection, told of nothing
  const stop = new AbortController();
  const heard = (async () => {
    for await (const { sequence } of ours.journal.follow('job.a', 0, stop.signal)) {
      if (sequence === 2) return sequence;
    }
    return 0;
  })();

  await theirs.journal.append('job.a', 0, [new Uint8Array([1])]);
  await theirs.journal.append('job.a', 1, [new Uint8Array([2])]);

  assert.equal(await heard, 2);
  stop.abort();
  await ours.close();
  await theirs.close();
  await folder.remove();
});

test('dead letters are bounded: the newest are kept', async () => {
  const folder = await temporaryFolder();
  const { queue, close } = openSqlite(join(folder.path, 'heddle.sqlite'), {
    clock,
    deadLettersMax: 3,
  });
  for (let i = 0; i < 6; i++) {
    await queue.push('tasks.a', `k${i}`, new Uint8Array([i]));
    await (await queue.pull('tasks.a', NOW))?.terminate('junk');
  }

  const letters = await queue.deadLetters('tasks.a', 10);
  assert.deepEqual(
    letters.map(({ key }) => key),
    ['k3', 'k4', 'k5'],
  );
  await close();
  await folder.remove();
});

test('the sole owner of a file gets the messages of its dead predecessor at once', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  const dead = openSqlite(path, { clock });
  await dead.queue.push('tasks.a', 'k', new Uint8Array([3]));
  const held = await dead.queue.pull('tasks.a', NOW);

  const another = openSqlite(path, { clock });
  assert.equal(await another.queue.pull('tasks.a', NOW), undefined, 'it may be alive');
  const owner = openSqlite(path, { clock, soleOwner: true });
  assert.equal((await owner.queue.pull('tasks.a', NOW))?.attempt, 2);
  assert.equal(await held?.heartbeat(), false);
  for (const file of [dead, another, owner]) await file.close();
  await folder.remove();
});
