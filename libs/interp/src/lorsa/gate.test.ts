import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gate } from './gate.ts';
import { tinyLorsaConfig } from './tiny-lorsa.ts';

const ones = (n: number) => new Float64Array(n).fill(1);
const four = (changes = {}) => tinyLorsaConfig({ n_ov_heads: 4, topK: 2, ...changes });
const gated = (config: ReturnType<typeof four>, pre: number[], norms = ones(4)) =>
  Array.from(gate(config, { decoderNorms: norms }, Float64Array.from(pre)));

test('ties at the K boundary go to the lower index, and exactly K are kept', () => {
  assert.deepEqual(gated(four(), [1, 1, 1, 1]), [1, 1, 0, 0]);
  assert.deepEqual(gated(four(), [1, 2, 1, 1]), [1, 2, 0, 0]);
});

test('fewer than K heads are active when fewer are positive', () => {
  assert.deepEqual(gated(four(), [-1, 0, 0.5, -3]), [0, 0, 0.5, 0]);
});

test('a head competes with the norm of what it would write', () => {
  assert.deepEqual(
    gated(four({ topK: 1 }), [1, 0.6, 0, 0], Float64Array.of(1, 2, 1, 1)),
    [0, 0.6, 0, 0],
  );
  assert.deepEqual(
    gated(four({ topK: 1, decoderNormInGate: false }), [1, 0.6, 0, 0], Float64Array.of(1, 2, 1, 1)),
    [1, 0, 0, 0],
  );
});

test('signed keeps the largest sizes with their signs', () => {
  assert.deepEqual(gated(four({ signed: true }), [-3, 1, 2, -0.5]), [-3, 0, 2, 0]);
});

test('batchtopk lets a token take more than K where another takes less', () => {
  const config = four({ activation: 'batchtopk', topK: 1 });
  assert.deepEqual(gated(config, [5, 4, 0, 0, 1, 0, 0, 0]), [5, 4, 0, 0, 0, 0, 0, 0]);
});

test('relu keeps every positive head, jumprelu those above their threshold', () => {
  assert.deepEqual(gated(four({ activation: 'relu' }), [3, -1, 0.1, 2]), [3, 0, 0.1, 2]);
  const config = four({ activation: 'jumprelu' });
  const thresholds = Float64Array.of(1, 1, 1, 2);
  const kept = gate(config, { decoderNorms: ones(4), thresholds }, Float64Array.of(3, 1, 1.1, 2));
  assert.deepEqual(Array.from(kept), [3, 0, 1.1, 0]); // strictly above
});
