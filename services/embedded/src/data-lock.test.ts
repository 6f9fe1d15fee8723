import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { DataLock, findOwner } from './data-lock.ts';

const scratch = mkdtempSync(join(tmpdir(), 'heddle-lock-'));
after(() => rmSync(scratch, { recursive: true, force: true }));

test('one process has the directory; who looks is told where it answers, once it does', async () => {
  const directory = join(scratch, 'a', 'made-when-needed');
  const lock = await DataLock.acquire(directory);
  await assert.rejects(DataLock.acquire(directory), { code: 'aborted' });

  const looking = findOwner(directory);
  await lock.announce('127.0.0.1:7411');
  assert.deepEqual(await looking, { pid: process.pid, address: '127.0.0.1:7411' });

  await lock.release();
  assert.equal(await findOwner(directory), undefined);
  assert.deepEqual(readdirSync(directory), [], 'nothing temporary is left');
});

test("a dead process's lock, another boot's with the same pid, and a broken one are taken over", async () => {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  const stale = [
    JSON.stringify({ pid: child.pid, started: '1', address: '127.0.0.1:1' }),
    JSON.stringify({ pid: process.ppid, started: 'another time', address: '127.0.0.1:1' }),
    '{"pid":',
  ];
  for (const [i, text] of stale.entries()) {
    const directory = mkdtempSync(join(scratch, `stale-${i}-`));
    writeFileSync(join(directory, 'heddle.lock'), text);
    assert.equal(await findOwner(directory), undefined);
    const lock = await DataLock.acquire(directory);
    assert.deepEqual(readdirSync(directory), ['heddle.lock']);
    await lock.release();
  }
});

test('of many that come at once after a crash, exactly one takes over', async () => {
  const directory = mkdtempSync(join(scratch, 'race-'));
  const dead = { pid: 2 ** 22 + 1, started: '1', address: '' };
  writeFileSync(join(directory, 'heddle.lock'), JSON.stringify(dead));
  const tries = await Promise.allSettled(
    Array.from({ length: 20 }, () => DataLock.acquire(directory)),
  );
  assert.equal(tries.filter(({ status }) => status === 'fulfilled').length, 1);
});

test('a folder that cannot be made is refused at once, with the system’s word', async () => {
  const file = join(scratch, 'a-file');
  writeFileSync(file, '');
  const refused = { code: 'failed_precondition', field: 'data' };
  await assert.rejects(DataLock.acquire(join(file, 'below')), { ...refused, message: /ENOTDIR/ });
  await assert.rejects(DataLock.acquire(file), { ...refused, message: /EEXIST/ });
  // Where a folder is there but takes no children Node's own recursive mkdir never returns.
  if (process.platform === 'linux') {
    await assert.rejects(DataLock.acquire('/proc/nope/below'), { ...refused, message: /ENOENT/ });
  }
});
