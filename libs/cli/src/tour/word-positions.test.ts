import assert from 'node:assert/strict';
import { test } from 'node:test';
import { wordPositions } from './word-positions.ts';

test('a word is found at the last of its tokens, whole words only, every time it stands there', () => {
  const tokens = ['When', ' Ma', 'ry', ' and', ' Maryland', ',', ' Mary', ' to'];
  assert.deepEqual(wordPositions(tokens, 'Mary'), [2, 6]);
  assert.deepEqual(wordPositions(tokens, 'John'), []);
});
