import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareJson } from './compare.ts';

const ignore = /^seconds$/;

test('jobs that a job started have ids of their own each time, which is no difference', () => {
  const before = { points: [{ job: 'lorsa-train-0123456789ab', fvu: 0.5, seconds: 3 }] };
  const after = { points: [{ job: 'lorsa-train-ba9876543210', fvu: 0.5, seconds: 4 }] };
  assert.deepEqual(compareJson(before, after, { ignore }), []);
});

test('a job of another kind, a digest and a text that differ are differences', () => {
  const before = { a: 'lorsa-train-0123456789ab', b: 'sha256:0123456789ab', c: 'one', d: null };
  const after = { a: 'lorsa-sweep-0123456789ab', b: 'sha256:ba9876543210', c: 'two', d: 'x' };
  assert.deepEqual(
    compareJson(before, after, { ignore }).map(({ what }) => what),
    ['a', 'b', 'c', 'd'],
  );
});
