import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { lorsaForward } from './forward.reference.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { groupSize } from './lorsa-config.ts';
import { type LorsaWeights, mapWeights, type Real } from './lorsa-weights.ts';
import { foldDecoderNorms, foldNormalisation, scaleFactors } from './normalisation.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';
import { zPattern } from './z-pattern.ts';

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['plain', {}],
  ['rotary, half split', { rotary: { dim: 4, base: 100, layout: 'half' } }],
  ['rotary, adjacent, partial', { rotary: { dim: 2, base: 100, layout: 'adjacent' } }],
  ['query-key norm', { qkNormEps: 1e-6 }],
  ['one pattern per head', { n_qk_heads: 8 }],
];

function maxDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  assert.equal(a.length, b.length);
  return Array.from(a).reduce((m, v, i) => Math.max(m, Math.abs(v - (b[i] as number))), 0);
}

/** Rows of `[ov_head, d_model]` or entries of `[ov_head]` in another order. */
function permuted(t: Real, order: readonly number[]): Real {
  const width = t.data.length / order.length;
  return {
    ...t,
    data: Float64Array.from(t.data, (_, at) => {
      return t.data[order[Math.floor(at / width)]! * width + (at % width)]!;
    }),
  };
}

function withHeads(weights: LorsaWeights, order: readonly number[]): LorsaWeights {
  return mapWeights(weights, (t, name) =>
    name === 'W_V' || name === 'b_V' || name === 'W_O' ? permuted(t, order) : t,
  );
}

for (const [name, changes] of VARIANTS) {
  const config = tinyLorsaConfig(changes);
  const rng = new Rng(7);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 9, config.d_model);
  const forward = lorsaForward(config, weights, x);

  test(`${name}: rows of every pattern sum to 1 and look at no later position`, () => {
    for (let row = 0; row < config.n_qk_heads * 9; row++) {
      const entries = forward.pattern.data.subarray(row * 9, row * 9 + 9);
      assert.ok(Math.abs(entries.reduce((a, b) => a + b, 0) - 1) < 1e-12);
      assert.ok(entries.subarray((row % 9) + 1).every((a) => a === 0));
    }
  });

  test(`${name}: z-patterns sum to the pre-activation`, () => {
    for (let i = 0; i < config.n_ov_heads; i++) {
      for (let t = 0; t < 9; t++) {
        const sum = zPattern(config, forward, i, t).reduce((a, b) => a + b, 0);
        assert.ok(Math.abs(sum - forward.preActivations.data[t * config.n_ov_heads + i]!) < 1e-12);
      }
    }
  });

  test(`${name}: at most K heads are active, none below zero, each with its pre-activation`, () => {
    let active = 0;
    for (let t = 0; t < 9; t++) {
      const z = forward.featureActs.data.subarray(t * 8, t * 8 + 8);
      assert.ok(z.filter((v) => v !== 0).length <= config.topK);
      z.forEach((v, i) => {
        assert.ok(v === 0 || (v > 0 && v === forward.preActivations.data[t * 8 + i]));
        if (v > 0) active++;
      });
    }
    assert.ok(active > 9, 'the example is alive');
  });

  test(`${name}: the past does not see the future`, () => {
    const changed = { ...x, data: x.data.map((v, at) => (at >= 6 * 6 ? v + 1 : v)) };
    const other = lorsaForward(config, weights, changed);
    assert.equal(
      maxDifference(
        forward.reconstruction.data.subarray(0, 36),
        other.reconstruction.data.subarray(0, 36),
      ),
      0,
    );
  });

  test(`${name}: folding the normalisation and the decoder norms reproduces the output`, () => {
    const factors = scaleFactors(config.d_model, { input: 0.7, output: 5 });
    const scaledInput = { ...x, data: x.data.map((v) => v * factors.input) };
    const expected = lorsaForward(config, weights, scaledInput);
    const folded = foldNormalisation(weights, factors);
    const raw = lorsaForward(config, folded, x).reconstruction.data;
    const unscaled = expected.reconstruction.data.map((v) => v / factors.output);
    // Scores near 100 turn one unit of rounding (1e-14) into 1e-12 of the attention.
    assert.ok(maxDifference(raw, unscaled) < 1e-11, `${maxDifference(raw, unscaled)}`);
    const unit = lorsaForward(config, foldDecoderNorms(config, folded), x).reconstruction.data;
    assert.ok(maxDifference(unit, raw) < 1e-11);
  });
}

test('two heads of one group trade places without a trace; across groups they do not', () => {
  const config = tinyLorsaConfig();
  const rng = new Rng(3);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 7, 6);
  const before = lorsaForward(config, weights, x).reconstruction.data;
  assert.equal(groupSize(config), 4);
  const inside = withHeads(weights, [1, 0, 3, 2, 7, 5, 6, 4]);
  const across = withHeads(weights, [4, 1, 2, 3, 0, 5, 6, 7]);
  assert.ok(maxDifference(lorsaForward(config, inside, x).reconstruction.data, before) < 1e-12);
  assert.ok(maxDifference(lorsaForward(config, across, x).reconstruction.data, before) > 0.1);
});

test('rescaling a head (c w_v, c b_V, w_o / c) changes neither output nor support', () => {
  const config = tinyLorsaConfig();
  const rng = new Rng(4);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 7, 6);
  const c = [2, 0.25, 8, 0.5, 3, 1, 1.5, 0.125]; // spread, so that ranking by z alone would differ
  const scaled = mapWeights(weights, (t, name) => {
    if (name === 'W_V') return { ...t, data: t.data.map((v, at) => v * c[Math.floor(at / 6)]!) };
    if (name === 'W_O') return { ...t, data: t.data.map((v, at) => v / c[Math.floor(at / 6)]!) };
    if (name === 'b_V') return { ...t, data: t.data.map((v, at) => v * c[at]!) };
    return t;
  });
  const before = lorsaForward(config, weights, x);
  const after = lorsaForward(config, scaled, x);
  assert.ok(maxDifference(after.reconstruction.data, before.reconstruction.data) < 1e-12);
  assert.deepEqual(
    after.featureActs.data.map((z) => (z > 0 ? 1 : 0)),
    before.featureActs.data.map((z) => (z > 0 ? 1 : 0)),
  );
});

test('flipping the sign of a head changes the output, but not z̃ w_o', () => {
  const config = tinyLorsaConfig({ topK: 8 });
  const rng = new Rng(5);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 7, 6);
  const flipped = mapWeights(weights, (t, name) =>
    name === 'W_V' || name === 'W_O' || name === 'b_V' ? { ...t, data: t.data.map((v) => -v) } : t,
  );
  const before = lorsaForward(config, weights, x);
  const after = lorsaForward(config, flipped, x);
  assert.ok(maxDifference(after.reconstruction.data, before.reconstruction.data) > 0.1);
  const written = (f: typeof before, w: LorsaWeights) =>
    f.preActivations.data.map((z, at) => z * w.W_O.data[(at % 8) * 6]!);
  assert.ok(maxDifference(written(after, flipped), written(before, weights)) < 1e-12);
  const signed = { ...config, signed: true };
  assert.ok(
    maxDifference(
      lorsaForward(signed, flipped, x).reconstruction.data,
      lorsaForward(signed, weights, x).reconstruction.data,
    ) < 1e-12,
  );
});

test('K = n_ov_heads equals relu', () => {
  const config = tinyLorsaConfig({ topK: 8 });
  const rng = new Rng(6);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 7, 6);
  assert.deepEqual(
    lorsaForward(config, weights, x).reconstruction.data,
    lorsaForward({ ...config, activation: 'relu' }, weights, x).reconstruction.data,
  );
});

test('scores under rotary depend on the distance alone', () => {
  for (const layout of ['half', 'adjacent'] as const) {
    const scaling = { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, oldContextLength: 8 };
    const config = tinyLorsaConfig({ rotary: { dim: 4, base: 50, layout, scaling } });
    const weights = mapWeights(randomLorsa(config, new Rng(8)), (t) => t);
    // Every row of x is the same, so that only position can make a difference.
    const x = randomRows(new Rng(9), 1, 6);
    const same = {
      ...x,
      shape: [9, 6],
      data: Float64Array.from({ length: 54 }, (_, i) => x.data[i % 6]!),
    };
    const { projections } = lorsaForward(config, weights, same);
    const score = (t: number, s: number) =>
      [0, 1, 2, 3].reduce(
        (sum, c) => sum + projections[0]!.q.final[t * 4 + c]! * projections[0]!.k.final[s * 4 + c]!,
        0,
      );
    assert.ok(Math.abs(score(8, 5) - score(5, 2)) < 1e-12);
    assert.ok(Math.abs(score(8, 5) - score(8, 6)) > 1e-3);
  }
});
