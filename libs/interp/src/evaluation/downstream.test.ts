import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import {
  addCrossEntropies,
  downstreamFigures,
  emptyCrossEntropies,
  predictionsOf,
} from './downstream.ts';
import { ratio } from './ratio.ts';

const NAMES = ['original', 'zero', 'exact', 'nothing', 'half'];

function sums(documents: number, rng: Rng) {
  const all = emptyCrossEntropies(NAMES);
  for (let document = 0; document < documents; document++) {
    const original = Array.from({ length: 6 }, () => 2 + rng.uniform());
    const zero = original.map((loss) => loss + 0.5 + rng.uniform());
    const half = original.map((loss, t) => (loss + (zero[t] ?? 0)) / 2);
    const losses = { original, zero, exact: original, nothing: zero, half };
    addCrossEntropies(all, BigInt(document), [0, 1, 1, 1, 1, 0, 1], losses);
  }
  return all;
}

test('loss recovered is 1 for an exact replacement and 0 for none', () => {
  const all = sums(20, new Rng(1));
  const exact = downstreamFigures(all, 'exact');
  assert.deepEqual([exact.lossRecovered.value, exact.ceIncrease.value], [1, 0]);
  assert.deepEqual([exact.lossRecovered.error, exact.ceIncrease.error], [0, 0]);
  assert.equal(downstreamFigures(all, 'nothing').lossRecovered.value, 0);
  assert.ok(Math.abs(downstreamFigures(all, 'half').lossRecovered.value - 0.5) < 1e-12);
  const { ce } = downstreamFigures(all, 'zero');
  const original = downstreamFigures(all, 'original').ce;
  assert.ok(Math.abs(ce - original - downstreamFigures(all, 'zero').ceIncrease.value) < 1e-12);
});

test('only predictions made at valid positions count, and the last token makes none', () => {
  // Seven tokens: six predictions, of which those at the positions 1 to 4 count.
  assert.equal(predictionsOf(sums(3, new Rng(2))), 3 * 4);
});

test('the standard error of a ratio is the spread that repeated samples show', () => {
  const rng = new Rng(3);
  const draw = () => {
    const b = Array.from({ length: 60 }, () => 5 + 10 * rng.uniform());
    return ratio(
      b.map((v) => 0.3 * v + rng.normal()),
      b,
    );
  };
  const draws = Array.from({ length: 400 }, draw);
  const mean = draws.reduce((a, { value }) => a + value, 0) / draws.length;
  const spread = Math.sqrt(
    draws.reduce((a, { value }) => a + (value - mean) ** 2, 0) / (draws.length - 1),
  );
  const said = draws.reduce((a, { error }) => a + error, 0) / draws.length;
  // 400 draws know a standard deviation to 3.5 %; three times that.
  assert.ok(Math.abs(said / spread - 1) < 0.11, `${said}, ${spread}`);
});

test('one document has no standard error, and groups without tokens are no documents', () => {
  assert.equal(ratio([2, 0], [4, 0]).value, 0.5);
  assert.ok(Number.isNaN(ratio([2, 0], [4, 0]).error));
  assert.ok(Number.isNaN(ratio([0], [0]).value));
  assert.equal(ratio([1, 3, 0], [2, 2, 0]).error, ratio([1, 3], [2, 2]).error);
});
