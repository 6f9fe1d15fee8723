import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { fillPattern, IOI_PATTERNS, ioiDataset, MersenneTwister, NAMES } from './index.ts';

// Fixtures: Python's `random` and the published generator (Franco & Crovella, ioi_dataset.py), as
// recorded in the method's description.

test('MT19937 gives the doubles and the bounded numbers of Python for seed 0', () => {
  const doubles = new MersenneTwister(0);
  for (const expected of [0.8444218515250481, 0.7579544029403025, 0.420571580830845]) {
    assert.equal(doubles.uniform(), expected);
  }
  const bounded = new MersenneTwister(0);
  assert.deepEqual(
    Array.from({ length: 5 }, () => bounded.below(109)),
    [108, 49, 97, 53, 5],
  );
});

test('MT19937 takes seeds past 32 bits as Python does', () => {
  assert.equal(new MersenneTwister(2 ** 40 + 7).uniform(), 0.6137037779936511);
});

test('the 256 IOI prompts of seed 0 have the published SHA-256', () => {
  const prompts = ioiDataset(256, 0);
  const digest = createHash('sha256')
    .update(prompts.map(({ text }) => text).join('\n'))
    .digest('hex');
  assert.equal(digest, '27a12d000e3a2828651d1018704a8947bbc62f9b96d32d552499b7e22aa602ca');
  assert.equal(prompts.filter(({ order }) => order === 'ABBA').length, 120);
  assert.equal(new Set(prompts.map(({ io }) => io)).size, 97);
  assert.deepEqual(
    prompts.slice(0, 5).map((p) => [p.io, p.s, p.place, p.gift, p.order, p.pattern]),
    [
      ['Sarah', 'Arthur', 'hospital', 'bone', 'ABBA', 2],
      ['Arthur', 'Ruby', 'office', 'snack', 'ABBA', 5],
      ['Arthur', 'Jacob', 'office', 'basketball', 'ABBA', 2],
      ['Kate', 'Jonathan', 'hospital', 'ring', 'ABBA', 2],
      ['Luke', 'Adam', 'house', 'ring', 'BABA', 7],
    ],
  );
});

test('every pattern fills its place and object, names both names in order, and ends before the answer', () => {
  assert.equal(NAMES.length, 109);
  assert.equal(IOI_PATTERNS.length, 15);
  const filling = { io: 'Kate', s: 'Ruby', place: 'store', gift: 'ring' };
  for (const pattern of IOI_PATTERNS) {
    for (const order of ['BABA', 'ABBA'] as const) {
      const { prompt: text } = fillPattern(pattern, order, filling);
      assert.ok(text.includes(order === 'BABA' ? 'Ruby and Kate' : 'Kate and Ruby'), text);
      assert.equal(text.split('Ruby').length, 3, text);
      assert.equal(text.split('Kate').length, 2, text);
      assert.doesNotMatch(text, /\b[PO]\b| {2}|\bundefined\b/);
      assert.match(text, /to$/);
    }
  }
  assert.equal(
    fillPattern(IOI_PATTERNS[0], 'BABA', filling).prompt,
    'Then, Ruby and Kate went to the store. Ruby gave a ring to',
  );
  assert.equal(
    fillPattern(IOI_PATTERNS[13], 'ABBA', filling).prompt,
    'The store Kate and Ruby went to had a ring. Ruby gave it to',
  );
});
