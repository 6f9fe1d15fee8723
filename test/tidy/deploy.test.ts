import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { madeFiles } from '../../deploy/made-files.ts';
import { ROOT } from './source-files.ts';

test('the files of deploy that are made of the code are what the code makes now', () => {
  for (const [path, text] of madeFiles()) {
    const there = readFileSync(join(ROOT, 'deploy', path), 'utf8');
    assert.equal(there, text, `deploy/${path}: run \`node deploy/make.ts\``);
  }
});
