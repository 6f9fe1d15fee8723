import assert from 'node:assert/strict';
import { test } from 'node:test';
import { lorsaForward } from './forward.reference.ts';
import type { LorsaWeights } from './lorsa-weights.ts';
import { tinyLorsaConfig } from './tiny-lorsa.ts';
import { zPattern } from './z-pattern.ts';

const f64 = (shape: number[], ...data: number[]) => ({
  dtype: 'f64' as const,
  shape,
  data: Float64Array.from(data),
});

/** The worked example of methods 1.15. */
const config = tinyLorsaConfig({
  d_model: 2,
  n_ov_heads: 3,
  n_qk_heads: 1,
  d_qk_head: 1,
  topK: 1,
  attnScale: 1,
});
const weights: LorsaWeights = {
  W_Q: f64([1, 2, 1], 1, 1),
  W_K: f64([1, 2, 1], 0, 1),
  b_Q: f64([1, 1], 0),
  b_K: f64([1, 1], 0),
  W_V: f64([3, 2], 1, 0, 0, -1, 1, 1),
  b_V: f64([3], 0, 0.5, 0),
  W_O: f64([3, 2], 2, 0, 0, 1, 0.6, 0.8),
  b_D: f64([2], 0, 0),
};
const x = f64([3, 2], 1, 0, 0, 1, 1, 1);

function near(actual: ArrayLike<number>, expected: readonly number[]) {
  assert.equal(actual.length, expected.length);
  expected.forEach((e, i) => {
    assert.ok(Math.abs((actual[i] as number) - e) <= 6e-7, `${i}: ${actual[i]} is not ${e}`);
  });
}

test('the micro example has the attention of the page', () => {
  const { pattern } = lorsaForward(config, weights, x);
  near(pattern.data, [1, 0, 0, 0.268941, 0.731059, 0, 0.063379, 0.468311, 0.468311]);
});

test('the micro example has the pre-activations, the winners and the outputs of the page', () => {
  const { preActivations, featureActs, reconstruction } = lorsaForward(config, weights, x);
  near(preActivations.data, [1, 0.5, 1, 0.268941, -0.231059, 1, 0.531689, -0.436621, 1.468311]);
  near(featureActs.data, [1, 0, 0, 0, 0, 1, 0, 0, 1.468311]);
  // 1.15 rounds the winner of t = 2 before multiplying: 0.6 · 1.468311 = 0.880986(6).
  near(reconstruction.data, [2, 0, 0.6, 0.8, 0.8809864, 1.1746486]);
});

test('the micro example has the z-patterns of the page', () => {
  const forward = lorsaForward(config, weights, x);
  near(zPattern(config, forward, 0, 2), [0.063379, 0, 0.468311]);
  near(zPattern(config, forward, 1, 2), [0.031689, -0.234155, -0.234155]);
  near(zPattern(config, forward, 2, 2), [0.063379, 0.468311, 0.936621]);
});

test('without the decoder norm in the gate another head wins the first token', () => {
  const { featureActs } = lorsaForward({ ...config, decoderNormInGate: false }, weights, x);
  // Heads 0 and 2 tie at z̃ = 1: the lower index wins by the rule of ties, so b_V breaks the tie here.
  assert.equal(featureActs.data[0], 1);
  const nudged = { ...weights, b_V: f64([3], 0, 0.5, 0.01) };
  const other = lorsaForward({ ...config, decoderNormInGate: false }, nudged, x).featureActs;
  assert.equal(other.data[0], 0);
  assert.ok(Math.abs(other.data[2]! - 1.01) < 1e-12);
});
