import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { ROOT } from './source-files.ts';

/** Typed-array arithmetic lives here; `noUncheckedIndexedAccess` would mark each of its reads as possibly undefined. */
const NUMERIC_ROOMS = /^libs\/(linalg|interp|onnx)\//;

function tool(name: string, args: readonly string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(`${ROOT}node_modules/.bin/${name}`, [...args], {
    cwd: ROOT,
    encoding: 'utf8',
    maxBuffer: 64 * 2 ** 20,
  });
  return { status, output: `${stdout}${stderr}` };
}

test('the whole tree type-checks under strict', () => {
  const { status, output } = tool('tsc', ['-p', '.', '--pretty', 'false']);
  assert.equal(status, 0, output);
});

test('outside the numeric rooms an index may miss, and the code says what then', () => {
  const { output } = tool('tsc', ['-p', '.', '--pretty', 'false', '--noUncheckedIndexedAccess']);
  const errors = output.split('\n').filter((line) => /error TS/.test(line));
  assert.deepEqual(
    errors.filter((line) => !NUMERIC_ROOMS.test(line)),
    [],
  );
});

test('biome finds nothing', () => {
  const { status, output } = tool('biome', ['ci', '--colors=off', '--error-on-warnings', '.']);
  assert.equal(status, 0, output);
});

test('buf lint finds nothing in the contracts', () => {
  const { status, output } = tool('buf', ['lint']);
  assert.equal(status, 0, output);
});

test('the contracts break no promise made at a landing', () => {
  const baseline = 'proto/gen/landed.binpb';
  assert.ok(existsSync(`${ROOT}${baseline}`), `${baseline} is missing`);
  const { status, output } = tool('buf', ['breaking', '--against', baseline]);
  assert.equal(status, 0, output);
});
