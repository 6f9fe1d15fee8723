import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const here = fileURLToPath(new URL('./', import.meta.url));
/** Past this an example is no example. */
const LINES_MAX = 60;
const TIMEOUT_MS = 180_000;

for (const name of readdirSync(here).filter((file) => /^\d\d_.*\.ts$/.test(file))) {
  test(`${name} runs, and ends as it says`, () => {
    assert.ok(readFileSync(`${here}${name}`, 'utf8').split('\n').length <= LINES_MAX);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      ['--disable-warning=ExperimentalWarning', `${here}run.ts`, name.slice(0, 2)],
      { encoding: 'utf8', timeout: TIMEOUT_MS },
    );
    assert.equal(status, 0, `${stdout}${stderr}`);
    assert.ok(stdout.length > 0);
  });
}
