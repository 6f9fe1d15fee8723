import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addDims,
  broadcastDims,
  dim,
  divideDims,
  evaluateDim,
  multiplyDims,
  subtractDims,
} from './dims.ts';

test('one size has one spelling, however it was made', () => {
  assert.equal(dim('pos*batch'), 'batch*pos');
  assert.equal(addDims('pos', 'pos'), '2*pos');
  assert.equal(multiplyDims(addDims('pos', 1), 'batch'), addDims('batch*pos', 'batch'));
  assert.equal(multiplyDims('pos*2', 3), '6*pos');
  assert.equal(subtractDims(addDims('pos', 3), 'pos'), 3);
  assert.equal(subtractDims('pos', 'pos'), 0);
});

test('division is exact or not at all', () => {
  assert.equal(divideDims('6*batch*pos', '2*pos'), '3*batch');
  assert.equal(divideDims('2*pos+4', 2), 'pos+2');
  assert.equal(divideDims('3*pos', 2), undefined);
  assert.equal(divideDims('batch', 'pos'), undefined);
  assert.equal(divideDims('pos', 0), undefined);
});

test('a size is a number once its names are bound', () => {
  const sizes = new Map([
    ['batch', 2],
    ['pos', 5],
  ]);
  assert.equal(evaluateDim('2*batch*pos-pos+1', sizes), 16);
  assert.equal(evaluateDim('batch*key_pos', sizes), undefined);
});

test('different names never broadcast, though they might be equal when it runs', () => {
  assert.deepEqual(broadcastDims(['batch', 1, 3], ['pos', 1]), ['batch', 'pos', 3]);
  assert.equal(broadcastDims(['query_pos'], ['key_pos']), undefined);
  assert.equal(broadcastDims(['pos'], [3]), undefined);
});

test('what is no size is refused', () => {
  assert.throws(() => dim('pos/2'), /"pos\/2" is not a size/);
});
