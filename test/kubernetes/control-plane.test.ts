/** The control plane that the other tests stand on: it ends with whoever started it, however that ended. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { launch, missingControlPlane, until } from '@heddle/testkit';

const skip = missingControlPlane() ?? false;
const HOLDER = fileURLToPath(new URL('./fixtures/holder.ts', import.meta.url));
const START_MS = 300_000;

/** Processes whose command line names a folder. */
function namingFolder(folder: string): readonly string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(folder);
      } catch {
        return false; // ended meanwhile
      }
    });
}

test('nothing of it outlives a test process that is killed', { skip }, async (t) => {
  const holder = launch(HOLDER);
  const started = performance.now();
  const late = AbortSignal.timeout(START_MS);
  late.addEventListener('abort', () => holder.kill('SIGKILL'));
  const [, kubeconfig = ''] = await holder.line(/^kubeconfig (.*)$/);
  t.diagnostic(`up in ${((performance.now() - started) / 1000).toFixed(1)} s`);
  assert.equal(namingFolder(kubeconfig).length, 5, 'controllers, scheduler, kwok and KEDA’s two');

  holder.kill('SIGKILL');
  await holder.exited;
  await until('all have ended', async () => namingFolder(kubeconfig).length === 0);
  await rm(dirname(kubeconfig), { recursive: true }); // files stay of who is killed
});
