import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { ROOT } from './source-files.ts';

test('what is generated is what its source says now: types, descriptors, kernels', () => {
  const argv = [`${ROOT}test/gen/run.ts`, '--check'];
  const { status, stdout, stderr } = spawnSync(process.execPath, argv, { encoding: 'utf8' });
  assert.equal(status, 0, stdout + stderr);
});
