/**
 * Damaged model folders, through the real path: disk, hub, loader, tokenizer, engine. Every mutant is refused with a typed error
 * that names the file, or answers as the fp64 interpreter does; none crashes, hangs, or keeps memory.
 *
 *   HEDDLE_FUZZ_SEED=7 HEDDLE_FUZZ_COUNT=20000 node --test test/fuzz/files.test.ts
 *   HEDDLE_FUZZ_ONE=1234 node --test test/fuzz/files.test.ts     # that mutant alone
 */
import assert from 'node:assert/strict';
import { rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadModel, openModelFolder } from '@heddle/adapters/hub';
import { OrtEngine } from '@heddle/adapters/ort';
import { type OperationError, present } from '@heddle/core';
import { padTokens, planForward } from '@heddle/models';
import { temporaryFolder } from '@heddle/testkit';
import { runPlan } from '../golden/models/golden-model.ts';
import { BASE_FOLDERS } from './files/base-folders.ts';
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
  const lenient = tally.count('beyond fp32') + tally.count('equal, ill-conditioned');
  assert.ok(lenient <= 0.05 * numbers.length, `${lenient} answers were judged leniently`);
  assert.ok(tally.rssGrowthBytes <= 256 * 2 ** 20, `RSS grew by ${tally.rssGrowthBytes} bytes`);
});

test('weights that are cut or removed after the model was loaded are refused by their folder when a session opens', async () => {
  const root = await temporaryFolder();
  const engine = await OrtEngine.start({ threads: 1 });
  const { files } = present(
    BASE_FOLDERS.find(({ name }) => name === 'gpt2'),
    'gpt2',
  );
  for (const [name, bytes] of files) await writeFile(join(root.path, name), bytes);
  const model = await loadModel(await openModelFolder(root.path));
  const plan = planForward(model, { hooks: ['logits'] });
  const run = () => runPlan(engine, model, plan, { tokens: padTokens(model.config, [[1, 2, 3]]) });
  const refused = (error: OperationError) => {
    assert.equal(error.code, 'failed_precondition', error.message);
    assert.ok(error.message.startsWith(model.weightsDirectory), error.message);
    return true;
  };

  await truncate(join(root.path, 'model.safetensors'), 10_000);
  await assert.rejects(run(), refused);
  await rm(join(root.path, 'model.safetensors'));
  await assert.rejects(run(), refused);

  await engine.close();
  await root.remove();
});
