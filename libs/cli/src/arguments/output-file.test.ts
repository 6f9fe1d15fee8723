import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Invocation } from '../invocation.ts';
import { OutputFile } from './files.ts';

const invocationIn = (directory: string) =>
  ({ io: { workingDirectory: directory } }) as unknown as Invocation;

test('what is there and no plain file is refused and stays what it was', async () => {
  // A socket stands for a device: a test that fails must not take /dev/null with it.
  const directory = mkdtempSync(join(tmpdir(), 'heddle-out-'));
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(directory, 's'), resolve));
  try {
    const refused = { code: 'invalid_argument', field: 'out', message: /no plain file/ };
    await assert.rejects(OutputFile.plan(invocationIn(directory), 's'), refused);
    await assert.rejects(OutputFile.plan(invocationIn(directory), '-'), refused);
    assert.ok(lstatSync(join(directory, 's')).isSocket());
    assert.deepEqual(readdirSync(directory), ['s']);

    const file = await OutputFile.plan(invocationIn(directory), 'new');
    assert.equal(await file.write(Uint8Array.of(1, 2)), 2);
    const again = await OutputFile.plan(invocationIn(directory), 'new');
    assert.equal(await again.write(Uint8Array.of(3)), 1);
  } finally {
    await new Promise((resolve) => server.close(resolve));
    rmSync(directory, { recursive: true });
  }
});
