import assert from 'node:assert/strict';
import { test } from 'node:test';
import { causalBlocks } from './causal-blocks.ts';
import { stepCost } from './step-cost.ts';
import { tinyLorsaConfig } from './tiny-lorsa.ts';

const sizes = { d_model: 512, n_qk_heads: 8, d_qk_head: 64, n_ov_heads: 4096, topK: 32 };

test('the measured setting costs 30.9 GFLOP on graph; on sparse 9.8, with the scores in causal blocks too', () => {
  const { graph, sparse } = stepCost(tinyLorsaConfig(sizes), 4, 256);
  assert.equal(Math.round(graph / 1e8), 309);
  assert.equal(Math.round(sparse / 1e8), 98);
});

test('with many shared heads over long sequences the mixed inputs cost more than dense values', () => {
  const many = tinyLorsaConfig({ ...sizes, n_qk_heads: 512, d_qk_head: 8 });
  const { graph, sparse } = stepCost(many, 1, 1024);
  assert.ok(sparse > graph);
});

test('causal blocks cover every position once, in order, and short sequences are one block', () => {
  for (const pos of [1, 15, 31, 33, 64, 100, 257]) {
    const blocks = causalBlocks(pos);
    assert.equal(blocks[0]!.start, 0);
    assert.equal(blocks.at(-1)!.end, pos);
    blocks.slice(1).forEach(({ start, end }, i) => {
      assert.equal(start, blocks[i]!.end);
      assert.ok(end > start);
    });
  }
  assert.equal(causalBlocks(31).length, 1);
  assert.equal(causalBlocks(256).length, 4);
});
