import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { lorsaForward } from '../forward.reference.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import { toF32 } from '../lorsa-weights.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from '../tiny-lorsa.ts';
import {
  analysisFeeds,
  buildAnalysis,
  forEachActive,
  forInspection,
  type HeadSequence,
  headSequences,
  referenceSequence,
  zRow,
} from './index.ts';

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['topk', {}],
  ['signed', { signed: true, decoderNormInGate: false }],
  ['relu', { activation: 'relu' }],
  ['jumprelu', { activation: 'jumprelu' }],
  ['rotary and query-key norm', { rotary: { dim: 4, base: 100, layout: 'half' }, qkNormEps: 1e-6 }],
];

/** Active heads as a set of lines, so that the order of slots does not count. */
function activeLines(sequence: HeadSequence): string[] {
  const lines: string[] = [];
  forEachActive(sequence, (head, position, z) => lines.push(`${position} ${head} ${z.toFixed(4)}`));
  return lines.sort();
}

for (const [name, changes] of VARIANTS) {
  test(`${name}: the analysis graph finds the same active heads, activations and z-patterns as the twin`, () => {
    const config = tinyLorsaConfig(changes);
    const rng = new Rng(5);
    const drawn = randomLorsa(config, rng);
    const logThreshold = tensor(
      'f64',
      [8],
      Float64Array.from({ length: 8 }, () => 0.3 * rng.normal()),
    );
    const weights = changes.activation === 'jumprelu' ? { ...drawn, logThreshold } : drawn;
    const x = toF32(randomRows(rng, 2, 7, config.d_model));
    const tokens = Int32Array.from({ length: 14 }, (_, t) => t + 100);
    const valid = tokens.map((_, t) => (t % 7 === 0 ? 0 : 1));

    const outputs = interpret(buildAnalysis(config), analysisFeeds(config, weights, x));
    const sequences = headSequences(config, outputs, {
      tokens,
      valid,
      lengths: [7, 5],
      firstIndex: 3,
    });

    assert.deepEqual(
      sequences.map((s) => [s.index, s.tokens.length, s.tokens[0]]),
      [
        [3, 7, 100],
        [4, 5, 107],
      ],
    );
    sequences.forEach((sequence, b) => {
      const pos = sequence.tokens.length;
      const rows = tensor('f32', [pos, 6], x.data.slice(b * 42, b * 42 + pos * 6));
      const { tokens, valid, index } = sequence;
      const twin = referenceSequence(config, weights, { x: rows, tokens, valid, index });
      assert.deepEqual(activeLines(sequence), activeLines(twin));
      assert.ok(activeLines(twin).length > 0);
      forEachActive(twin, (head, position) => {
        const [a, e] = [sequence, twin].map((of) => zRow(of.attention!, head, position));
        e!.zPattern.forEach((value, s) => {
          assert.ok(Math.abs(value - a!.zPattern[s]!) < 1e-5);
        });
        e!.pattern.forEach((value, s) => {
          assert.ok(Math.abs(value - a!.pattern[s]!) < 1e-5);
        });
      });
    });
  });
}

test('a z-pattern sums to the pre-activation of every head at every position, active or not, and to z where active', () => {
  const config = tinyLorsaConfig();
  const rng = new Rng(6);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 9, config.d_model);
  const { preActivations, featureActs } = lorsaForward(config, weights, x);
  const ones = new Uint8Array(9).fill(1);
  const sequence = referenceSequence(config, weights, { x, tokens: ones, valid: ones, index: 0 });

  let active = 0;
  for (let head = 0; head < 8; head++) {
    for (let t = 0; t < 9; t++) {
      const { zPattern, pattern } = zRow(sequence.attention!, head, t);
      const total = zPattern.reduce((a, b) => a + b, 0);
      const largest = zPattern.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      assert.ok(Math.abs(total - preActivations.data[t * 8 + head]!) <= 1e-12 * largest);
      assert.ok(Math.abs(pattern.reduce((a, b) => a + b, 0) - 1) < 1e-12);
      const z = featureActs.data[t * 8 + head]!;
      if (z === 0) continue;
      active++;
      assert.ok(Math.abs(total - z) <= 1e-12 * largest);
    }
  }
  assert.ok(active >= 9);
});

for (const [name, changes] of [
  ['topk', {}],
  ['jumprelu', { activation: 'jumprelu' }],
  ['jumprelu, thresholds of z alone', { activation: 'jumprelu', decoderNormInGate: false }],
] as const) {
  test(`${name}: an inspected layer reads raw x, writes unit rows and keeps its output`, () => {
    const config = tinyLorsaConfig(changes);
    const rng = new Rng(7);
    const logThreshold = tensor(
      'f64',
      [8],
      Float64Array.from({ length: 8 }, () => rng.normal()),
    );
    const weights = { ...randomLorsa(config, rng), logThreshold };
    const layer = {
      config,
      weights,
      hookIn: 'in',
      hookOut: 'out',
      normalisation: 'dataset-wise' as const,
      norms: { input: 3, output: 0.5 },
    };
    const x = randomRows(rng, 5, 6);
    const [cIn, cOut] = [Math.sqrt(6) / 3, Math.sqrt(6) / 0.5];

    const inspected = forInspection(layer);

    const scaled: Tensor<'f64'> = { ...x, data: x.data.map((value) => value * cIn) };
    const expected = lorsaForward(config, weights, scaled);
    const actual = lorsaForward(inspected.config, inspected.weights, x);
    const active = (z: Float64Array) => Array.from(z, (value) => value !== 0);
    assert.deepEqual(active(actual.featureActs.data), active(expected.featureActs.data));
    expected.reconstruction.data.forEach((value, at) => {
      assert.ok(Math.abs(value / cOut - actual.reconstruction.data[at]!) < 1e-5);
    });
    for (let i = 0; config.decoderNormInGate && i < 8; i++) {
      const row = inspected.weights.W_O.data.subarray(i * 6, i * 6 + 6);
      assert.ok(Math.abs(Math.hypot(...row) - 1) < 1e-6);
    }
    assert.throws(() => forInspection({ ...layer, normalisation: 'token-wise' }), /dataset-wise/);
  });
}

test('a layer without K that is active on more heads than are looked at is refused, not cut', () => {
  const config = { ...tinyLorsaConfig({ activation: 'relu' }), n_ov_heads: 1024 };
  const one = tensor('f32', [1, 512], new Float32Array(512).fill(1));
  const outputs = {
    pattern: tensor('f32', [1, 2, 1, 1], new Float32Array(2).fill(1)),
    values: tensor('f32', [1, 1, 1024], new Float32Array(1024)),
    winners: tensor('i32', [1, 512], new Int32Array(512)),
    acts: one,
  };
  const text = { tokens: [1], valid: [1], lengths: [1], firstIndex: 0 };

  assert.throws(() => headSequences(config, outputs, text), /more than 512 active heads/);
  one.data[511] = 0;
  assert.equal(headSequences(config, outputs, text).length, 1);
  assert.throws(() => buildAnalysis({ ...config, activation: 'batchtopk' }), /batchtopk/);
});
