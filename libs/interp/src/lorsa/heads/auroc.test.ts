import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { auroc, meanInterval } from './index.ts';

/** Every pair of a positive and a negative. */
function slow(scores: Float64Array, positive: readonly number[]): number {
  const is = new Set(positive);
  let wins = 0;
  let pairs = 0;
  for (const p of positive) {
    for (let n = 0; n < scores.length; n++) {
      if (is.has(n)) continue;
      pairs++;
      wins += scores[p]! > scores[n]! ? 1 : scores[p] === scores[n] ? 0.5 : 0;
    }
  }
  return wins / pairs;
}

test('the area equals the count over all pairs, with many ties and with none', () => {
  const rng = new Rng(1);
  for (let round = 0; round < 200; round++) {
    const n = 2 + rng.below(40);
    const levels = round % 2 === 0 ? 4 : 1e9;
    const scores = Float64Array.from({ length: n }, () => rng.below(levels) / levels - 0.5);
    const all = Array.from({ length: n }, (_, i) => i);
    const positive = rng.shuffle(all).slice(0, 1 + rng.below(n - 1));

    assert.ok(Math.abs(auroc(scores, positive) - slow(scores, positive)) < 1e-12);
  }
});

test('the area equals what scikit-learn says', () => {
  // roc_auc_score(y, s), scikit-learn 1.5: the example of its documentation; and one with ties worked by hand (7 of 8 pairs).
  assert.equal(auroc(Float64Array.of(0.1, 0.4, 0.35, 0.8), [2, 3]), 0.75);
  assert.equal(auroc(Float64Array.of(1, 2, 2, 3, 0, 2), [1, 3]), 7 / 8);
});

test('perfect is 1, reversed 0, all alike ½, and without both kinds there is no area', () => {
  const up = Float64Array.of(1, 2, 3, 4);
  assert.equal(auroc(up, [2, 3]), 1);
  assert.equal(auroc(up, [0, 1]), 0);
  assert.equal(auroc(new Float64Array(9), [3, 5]), 0.5);
  assert.ok(Number.isNaN(auroc(up, [])));
  assert.ok(Number.isNaN(auroc(up, [0, 1, 2, 3])));
});

test('an area does not change under a rising function of the scores', () => {
  const rng = new Rng(2);
  const scores = Float64Array.from({ length: 60 }, () => rng.normal());
  const positive = [1, 5, 9, 33, 48];

  assert.equal(auroc(scores.map(Math.exp), positive), auroc(scores, positive));
});

test('the interval of a mean covers it 95 times in a hundred, and leaves out heads without a value', () => {
  const rng = new Rng(3);
  let covered = 0;
  for (let round = 0; round < 1000; round++) {
    const values = Array.from({ length: 30 }, () => 0.7 + 0.1 * rng.normal());
    const { low, high } = meanInterval([...values, Number.NaN]);
    if (low <= 0.7 && 0.7 <= high) covered++;
  }
  assert.ok(covered > 920 && covered < 970, `${covered}`);
  assert.deepEqual(meanInterval([Number.NaN, 0.5]), { mean: 0.5, low: 0.5, high: 0.5, heads: 1 });
  assert.ok(Number.isNaN(meanInterval([]).mean));
});
