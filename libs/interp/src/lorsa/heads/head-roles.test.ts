import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tensor } from '@heddle/tensor';
import { HeadStatistics, headRoles, TokenTops } from './index.ts';

function sources() {
  const statistics = new HeadStatistics({ heads: 8, samples: 2, seed: 0 });
  statistics.add({
    index: 0,
    tokens: [9, 5, 5, 6],
    valid: [0, 1, 1, 1],
    slots: 1,
    winners: [0, 5, 5, 5],
    acts: [1, 2, 4, 2],
  });
  const tops = new TokenTops(8, 2);
  const rows = (values: number[]) =>
    tensor(
      'f32',
      [8, 2],
      Float32Array.from({ length: 16 }, (_, at) => values[at % 2]!),
    );
  const index = (values: number[]) =>
    tensor(
      'i32',
      [8, 2],
      Int32Array.from({ length: 16 }, (_, at) => values[at % 2]!),
    );
  const sum = tensor('f32', [8], new Float32Array(8).fill(10));
  tops.addBlock(0, 10, {
    top: rows([4, 3]),
    top_index: index([7, 5]),
    bottom: rows([-2, 2]),
    bottom_index: index([1, 2]),
    sum,
  });
  return { statistics, tops };
}

test('a head fires on tokens by their share of its activity, and raises and lowers those off the mean', () => {
  const roles = headRoles(sources(), 5);

  assert.deepEqual(roles.fires_on, [
    { token: 5, weight: 0.75 },
    { token: 6, weight: 0.25 },
  ]);
  assert.deepEqual(roles.reads_from, [
    { token: 5, weight: 2 / 3 },
    { token: 9, weight: 1 / 3 },
  ]);
  // The vocabulary's mean, 1, is taken away; what is then still above it is not lowered.
  assert.deepEqual(roles.raises, [
    { token: 7, weight: 3 },
    { token: 5, weight: 2 },
  ]);
  assert.deepEqual(roles.lowers, [{ token: 1, weight: -3 }]);
  assert.deepEqual(headRoles(sources(), 5, 1).raises, [{ token: 7, weight: 3 }]);
  assert.deepEqual(headRoles(sources(), 2).fires_on, []);
});
