import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { drawText, repeatedSequence, type Task, wholeText } from '@heddle/interp/tasks';
import { BpeEncoder } from './bpe.ts';
import { BUNDLED_RECIPE } from './bundled-recipe.ts';
import { encodeText, trainingBatch } from './corpus.ts';
import { bundledBpe } from './vocabulary.ts';

const bpe = bundledBpe();
const encoder = new BpeEncoder(bpe);
const { mixture } = BUNDLED_RECIPE.phases.at(-1)!;

test('the answers of a repeat are its tokens from the second of the second copy on', () => {
  const text = repeatedSequence(new Rng(2), 'train', { period: 5, length: 13 });
  const { ids, answers } = encodeText(encoder, text);
  assert.deepEqual(answers, [6, 7, 8, 9, 10, 11, 12]);
  for (const place of answers) assert.equal(ids[place], ids[place - 5]);
});

test('tokenising piece by piece equals tokenising the whole', () => {
  const rng = new Rng(6);
  for (const task of ['ioi', 'succession', 'list', 'box'] as Exclude<Task, 'repeat'>[]) {
    for (let i = 0; i < 200; i++) {
      const text = drawText(rng, 'train', task, mixture);
      assert.deepEqual(encodeText(encoder, text).ids, encoder.encode(wholeText(text)));
    }
  }
});

test('a batch follows from seed and step alone, and its targets are its tokens one on', () => {
  const at = { seed: 7, step: 12, batch: 4, pos: 64, n_ctx: 256 };
  const batch = trainingBatch(encoder, mixture, at);
  assert.deepEqual(trainingBatch(encoder, mixture, at), batch);
  assert.notDeepEqual(trainingBatch(encoder, mixture, { ...at, step: 13 }).tokens, batch.tokens);
  for (let row = 0; row < 4; row++) {
    const from = row * 64;
    assert.deepEqual(batch.targets.slice(from, from + 63), batch.tokens.slice(from + 1, from + 64));
  }
  assert.ok(batch.weights.every((weight) => weight === 1 || weight < 0.1));
  assert.ok(batch.weights.some((weight) => weight === 1));
});
