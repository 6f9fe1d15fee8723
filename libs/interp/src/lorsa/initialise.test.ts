import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { copyHostQK, initialiseLevelA, meanTarget } from './initialise.ts';
import { zeroWeights } from './lorsa-weights.ts';
import { meanNorm, scaleFactors } from './normalisation.ts';
import { randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

test('level A draws queries and keys within PyTorch’s Xavier bound of a 3-D tensor', () => {
  const config = tinyLorsaConfig({
    d_model: 768,
    n_qk_heads: 48,
    d_qk_head: 64,
    n_ov_heads: 768,
  });
  const weights = initialiseLevelA(config, new Rng(1));
  const bound = Math.sqrt(6 / ((48 + 768) * 64)); // 0.0107, methods 1.6
  const largest = weights.W_Q.data.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
  assert.ok(largest <= bound && largest > 0.999 * bound);
  const deviation = (data: Float64Array) =>
    Math.sqrt(data.reduce((sum, v) => sum + v * v, 0) / data.length);
  // 590k draws: the deviation is known to 0.1 %.
  assert.ok(Math.abs(deviation(weights.W_V.data) * Math.sqrt(768) - 1) < 0.01);
  assert.ok(Math.abs(deviation(weights.W_O.data) * Math.sqrt(768) - 1) < 0.01);
  for (const bias of [weights.b_Q, weights.b_K, weights.b_V, weights.b_D]) {
    assert.ok(bias.data.every((v) => v === 0));
  }
});

test('level B repeats each host head in a row, divides by the input factor and copies biases as they are', () => {
  const rng = new Rng(2);
  const host = {
    W_Q: randomRows(rng, 2, 6, 4),
    W_K: randomRows(rng, 1, 6, 4), // grouped: both host heads share it
    W_V: randomRows(rng, 1, 6, 4),
    W_O: randomRows(rng, 2, 4, 6),
    b_Q: randomRows(rng, 2, 4),
    b_K: randomRows(rng, 1, 4),
    q_norm: randomRows(rng, 4),
    k_norm: randomRows(rng, 4),
  };
  const config = tinyLorsaConfig({ n_qk_heads: 4, qkNormEps: 1e-6 });
  const copied = copyHostQK(config, zeroWeights(config), host, 2);
  [0, 0, 1, 1].forEach((from, j) => {
    const q = copied.W_Q.data.subarray(j * 24, j * 24 + 24);
    q.forEach((v, i) => {
      assert.equal(v, host.W_Q.data[from * 24 + i]! / 2);
    });
    copied.W_K.data.subarray(j * 24, j * 24 + 24).forEach((v, i) => {
      assert.equal(v, host.W_K.data[i]! / 2);
    });
    assert.deepEqual(
      copied.b_Q.data.slice(j * 4, j * 4 + 4),
      host.b_Q.data.slice(from * 4, from * 4 + 4),
    );
    assert.deepEqual(copied.b_K.data.slice(j * 4, j * 4 + 4), host.b_K.data);
    assert.deepEqual(copied.ln_q!.data.slice(j * 4, j * 4 + 4), host.q_norm.data);
    assert.deepEqual(copied.ln_k!.data.slice(j * 4, j * 4 + 4), host.k_norm.data);
  });
});

test('norms and mean targets are measured on valid tokens alone', () => {
  const rows = { dtype: 'f64' as const, shape: [3, 2], data: Float64Array.of(3, 4, 0, 1, 99, 99) };
  assert.equal(meanNorm(rows, [1, 1, 0]), 3);
  assert.deepEqual([...meanTarget(rows, [1, 1, 0]).data], [1.5, 2.5]);
  assert.deepEqual(scaleFactors(4, { input: 2, output: 0.5 }), { input: 1, output: 4 });
});
