import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tensor } from '@heddle/tensor';
import { tinyLorsaConfig } from '../tiny-lorsa.ts';
import { HeadStatistics, headCard, TokenIndex, TokenTops } from './index.ts';

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
  return { config: tinyLorsaConfig(), learnt: statistics, statistics, tops, tallies: [] };
}

test('a card holds what the statistics and the effects say about its head', () => {
  const card = headCard(sources(), 5);

  assert.equal(card.qkHead, 1);
  assert.equal(card.frequency, 1);
  assert.equal(card.dense, true);
  assert.equal(card.dead, false);
  assert.equal(card.activationMax, 4);
  assert.deepEqual(card.roles.fires_on, [
    { token: 5, weight: 0.75 },
    { token: 6, weight: 0.25 },
  ]);
  // The vocabulary's mean, 1, is taken away; what is then still above it is not lowered.
  assert.deepEqual(card.roles.raises, [
    { token: 7, weight: 3 },
    { token: 5, weight: 2 },
  ]);
  assert.deepEqual(card.roles.lowers, [{ token: 1, weight: -3 }]);
  assert.equal(headCard(sources(), 2).dead, true);
});

test('a token is found in every role that it has, the heads to which it matters most first', () => {
  const { roles } = headCard(sources(), 5);
  const weak = { ...roles, fires_on: [{ token: 6, weight: 0.9 }, ...roles.fires_on] };
  const index = new TokenIndex([
    [3, weak],
    [5, roles],
  ]);

  const roles5 = new Set(index.matters(5).map(({ head, role }) => `${head} ${role}`));
  for (const there of ['3 fires_on', '5 fires_on', '3 raises', '5 raises'])
    assert.ok(roles5.has(there), there);
  assert.equal(index.matters(5)[0]!.rank, 0);
  assert.deepEqual(
    index.matters(5, 'fires_on').map(({ head, rank }) => [head, rank]),
    [
      [5, 0],
      [3, 1],
    ],
  );
  assert.deepEqual(
    index.matters(1, 'lowers').map(({ head }) => head),
    [3, 5],
  );
  assert.deepEqual(index.matters(1, 'raises'), []);
  assert.deepEqual(index.matters(99), []);
});
