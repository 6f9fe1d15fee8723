import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from '@heddle/testkit';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));

test('a command that runs a model leaves nothing in the home directory, kept there to be sent to somebody', async () => {
  const { path, remove } = await temporaryFolder();
  const home = await temporaryFolder();
  // Where continuous integration runs, the engine is quiet by itself.
  const { CI: _, ORT_DISABLE_TELEMETRY: __, ...env } = process.env;
  const args = ['run', '--text', 'Mary', '--hooks', 'blocks.0.attn.hook_pattern', '--json'];
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', MAIN, ...args, '--data', join(path, 'data')],
    {
      env: { ...env, HOME: home.path, XDG_CACHE_HOME: join(home.path, '.cache') },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const [code] = (await once(child, 'exit')) as [number | null];
  const left = await readdir(home.path, { recursive: true });
  await Promise.all([remove(), home.remove()]);

  assert.equal(code, 0);
  assert.deepEqual(left, []);
});
