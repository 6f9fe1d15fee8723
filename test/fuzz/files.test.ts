/**
 * Damaged model folders, through the real path: disk, hub, loader, tokenizer, engine. Every mutant is refused with a typed error
 * that names the file, or answers as the fp64 interpreter does; none crashes, hangs, or keeps memory.
 *
 *   HEDDLE_FUZZ_SEED=7 HEDDLE_FUZZ_COUNT=20000 node --test test/fuzz/files.test.ts
 *   HEDDLE_FUZZ_ONE=1234 node --test test/fuzz/files.test.ts     # that mutant alone
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import type { FileAnswer } from './files/file-child.ts';
import { fileMutant } from './files/file-mutants.ts';
import { fuzzSettings, MutantTally } from './mutant-tally.ts';
import { SupervisedChild } from './supervised-child.ts';

const { seed, numbers } = fuzzSettings(2000);

/** A mutant takes 20 ms; a busy machine may be fifty times slower, and the loader promises no more than a second or two. */
const LIMIT_MS = 10_000;

const child = new SupervisedChild<FileAnswer>(new URL('./files/file-child.ts', import.meta.url), [
  `${seed}`,
]);
after(() => child.close());

test('every damaged folder is refused by name or computes what the interpreter computes', async () => {
  const tally = new MutantTally(`files, seed ${seed}`);

  for (const number of numbers) {
    const answer = await child.ask(number, LIMIT_MS);
    if ('died' in answer) {
      const { what, decodable } = fileMutant(seed, number);
      tally.add({ number, what, decodable, outcome: answer.died, wrong: true, text: '' });
    } else tally.add({ number, ...answer });
  }

  console.log(tally.table());
  assert.deepEqual(tally.failures, []);
  if (numbers.length < 1000) return;
  assert.ok(tally.decodableShare >= 0.5, `${tally.decodableShare} of the mutants are decodable`);
  assert.ok(tally.count('equal') >= 0.1 * numbers.length, 'mutants that still compute');
  assert.ok(tally.rssGrowthBytes <= 256 * 2 ** 20, `RSS grew by ${tally.rssGrowthBytes} bytes`);
});
