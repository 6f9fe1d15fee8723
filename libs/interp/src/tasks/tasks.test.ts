import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import {
  boxFacts,
  CATEGORIES,
  HELD_OUT_PATTERNS,
  IOI_PATTERNS,
  ioiSentence,
  isHeldOut,
  NAMES,
  repeatedSequence,
  THINGS,
  wholeText,
} from './index.ts';

test('categories share no word, so that a question has one answer', () => {
  const all = Object.values(CATEGORIES).flat();
  assert.equal(new Set(all).size, all.length);
});

test('training repeats no held-out neighbours, and an evaluated repeat holds no others', () => {
  const rng = new Rng(1);
  for (let i = 0; i < 200; i++) {
    for (const split of ['train', 'held-out'] as const) {
      const text = repeatedSequence(rng, split, { period: 3 + rng.below(20), length: 60 });
      const words = wholeText(text).trim().split(' ');
      words.slice(1).forEach((word, n) => {
        assert.equal(isHeldOut('repeat', words[n]!, word), split === 'held-out');
      });
    }
  }
});

test('training IOI text never pairs held-out names and never uses a held-out pattern', () => {
  const rng = new Rng(3);
  const names = new Set(NAMES);
  for (let i = 0; i < 2000; i++) {
    const whole = wholeText(ioiSentence(rng, 'train').text);
    const [a, b] = [...new Set(whole.match(/\w+/g)!.filter((word) => names.has(word)))].sort();
    assert.equal(isHeldOut('ioi', a!, b!), false, whole);
    for (const { opener, event, phrase } of HELD_OUT_PATTERNS) {
      const filled = (part: string) => part.replace(/\b[PO]\b/g, '\\w+');
      const form = new RegExp(
        `^${opener} \\w+ and \\w+ ${filled(event)}[.,] \\w+ ${filled(phrase)} `,
      );
      assert.doesNotMatch(whole, form);
    }
  }
});

test('the answer of an IOI sentence is the name that stands there once', () => {
  const rng = new Rng(4);
  for (const order of ['ABBA', 'BABA'] as const) {
    const { prompt, io, s } = ioiSentence(rng, 'held-out', { order, patterns: IOI_PATTERNS });
    const count = (name: string) => prompt.match(new RegExp(`\\b${name}\\b`, 'g'))?.length;
    assert.deepEqual([count(io), count(s)], [1, 2]);
    assert.equal(prompt.indexOf(io) < prompt.indexOf(s), order === 'ABBA');
  }
});

test('training box text states no held-out fact, and a question is answered by its fact', () => {
  const rng = new Rng(5);
  for (let i = 0; i < 500; i++) {
    for (const split of ['train', 'held-out'] as const) {
      const form = 'sentence' as const;
      const size = { factForm: form, questionForm: form, facts: 4, questions: 2 };
      const whole = wholeText(boxFacts(rng, split, size));
      const facts = [...whole.matchAll(/The (\w+) is in box (\w)\./g)];
      const questions = [...whole.matchAll(/is the (\w+) in\? Box (\w)\./g)];
      assert.deepEqual([facts.length, questions.length], [4, 2]);
      for (const [, thing, letter] of questions) {
        assert.ok(
          facts.some((fact) => fact[1] === thing && fact[2] === letter),
          whole,
        );
        assert.ok(THINGS.includes(thing!));
      }
      for (const [, thing, letter] of facts) {
        assert.equal(isHeldOut('box', thing!, letter!), split === 'held-out');
      }
    }
  }
});
