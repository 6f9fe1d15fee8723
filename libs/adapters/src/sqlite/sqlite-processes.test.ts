import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, temporaryFolder } from '@heddle/testkit';
import { systemClock } from '../clock/index.ts';
import { openSqlite } from './index.ts';

const CONTEND = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/contend'));
const FILL = fileURLToPath(import.meta.resolve('@heddle/testkit/processes/fill-disk'));

test('three processes at one file: every append is once in the journal, every message worked once', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  const each = 60;

  const processes = ['a', 'b', 'c'].map((name) => launch(CONTEND, [path, name, `${each}`]));
  for (const child of processes) {
    const { code } = await child.exited;
    assert.equal(code, 0, child.stderr());
  }

  const said = processes.flatMap(({ lines }) => lines);
  const appended = said.flatMap((line) => line.match(/^appended (\d+) (.*)$/)?.slice(1, 3) ?? []);
  const { journal, queue, close } = openSqlite(path, { clock: systemClock });
  const events = await journal.read('job.shared');
  assert.equal(events.length, 3 * each);
  for (let i = 0; i < appended.length; i += 2) {
    const event = events[Number(appended[i]) - 1];
    assert.equal(new TextDecoder().decode(event?.bytes), appended[i + 1]);
  }
  const worked = said.filter((line) => line.startsWith('worked'));
  assert.equal(new Set(worked).size, worked.length, 'no message twice');
  const { waiting } = await queue.depth('tasks.a');
  assert.equal(worked.length + waiting, 3 * each, 'no message lost');
  await close();
  await folder.remove();
});

test('after kill -9 in the middle of writing, everything acknowledged is there and the file works', async () => {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'heddle.sqlite');
  let events = 0;

  for (let round = 0; round < 3; round++) {
    const child = launch(CONTEND, [path, `round${round}`, '0']);
    await child.line(/^appended \d+ round\d 2\d$/);
    child.kill('SIGKILL');
    assert.equal((await child.exited).signal, 'SIGKILL');

    const acknowledged = child.lines.filter((line) => line.startsWith('appended')).length;
    const { journal, close } = openSqlite(path, { clock: systemClock });
    const read = await journal.read('job.shared');
    assert.deepEqual(
      read.map(({ sequence }) => sequence),
      read.map((_, i) => i + 1),
    );
    assert.ok(read.length >= events + acknowledged, `${read.length} events`);
    assert.ok(read.length <= events + acknowledged + 1, 'at most the one in flight besides');
    events = read.length;
    await close();
  }
  await folder.remove();
});

test('on a disk that is really full appends are refused with a type and nothing acknowledged is lost', async (t) => {
  const folder = await temporaryFolder();
  // A file system of 600 kB of our own, in a name space of our own; what cannot mount one takes the budget test.
  const mount = `mount -t tmpfs -o size=600k tmpfs ${folder.path} && exec "$@"`;
  const within = ['unshare', '-Urm', 'sh', '-c', mount, 'sh'];
  if (
    spawnSync('unshare', ['-Urm', 'sh', '-c', `mount -t tmpfs tmpfs ${folder.path}`]).status !== 0
  ) {
    t.diagnostic('no name spaces here: a full disk is tried by the budget of the file alone');
    await folder.remove();
    return;
  }

  const child = launch(FILL, [folder.path, 'all'], { within });
  const { code } = await child.exited;

  assert.equal(code, 0, child.stderr());
  assert.deepEqual(child.lines, [
    'small kept',
    'large refused: resource_exhausted',
    'large left 0, tmp 0',
    'append refused: resource_exhausted, all acknowledged are there',
    'after removal: done',
  ]);
  await folder.remove();
});
