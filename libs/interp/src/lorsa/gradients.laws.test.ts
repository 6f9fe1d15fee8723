import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { lorsaDecode, lorsaForward } from './forward.reference.ts';
import { gate } from './gate.ts';
import { lorsaGradients } from './gradients.reference.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { decoderNorms, mapWeights, parameterNames } from './lorsa-weights.ts';
import { lorsaLoss, tokenWeights } from './loss.reference.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

/** Central differences: error h² · third derivative + 1e-16 / h, so about 1e-9 for values near 1. */
const STEP = 1e-5;

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['plain', {}],
  ['signed', { signed: true }],
  ['relu', { activation: 'relu' }],
  [
    'rotary and query-key norm',
    { rotary: { dim: 2, base: 100, layout: 'adjacent' }, qkNormEps: 1e-6 },
  ],
  ['half-split rotary', { rotary: { dim: 4, base: 100, layout: 'half' } }],
];

for (const [name, changes] of VARIANTS) {
  test(`${name}: every gradient equals central differences in fp64`, () => {
    const config = tinyLorsaConfig(changes);
    const rng = new Rng(21);
    const weights = mapWeights(randomLorsa(config, rng), (t) => ({
      ...t,
      data: t.data.map((v) => v / 2),
    }));
    const x = randomRows(rng, 6, config.d_model);
    const y = randomRows(rng, 6, config.d_model);
    const weight = Float64Array.from(tokenWeights([0, 1, 1, 1, 0, 1]));
    const { loss, gradients, forward } = lorsaGradients(config, weights, { x, y, weight });
    assert.equal(loss, lorsaLoss(y, forward.reconstruction, weight));
    const support = forward.featureActs.data.map((z) => (z === 0 ? 0 : 1));

    let compared = 0;
    let nonzero = 0;
    for (const parameter of parameterNames(config)) {
      const tensor = weights[parameter]!;
      tensor.data.forEach((value, at) => {
        const lossAt = (moved: number) => {
          tensor.data[at] = moved;
          const f = lorsaForward(config, weights, x);
          const same = f.featureActs.data.every((z, i) => (z === 0 ? 0 : 1) === support[i]);
          return same ? lorsaLoss(y, f.reconstruction, weight) : Number.NaN;
        };
        const difference = (lossAt(value + STEP) - lossAt(value - STEP)) / (2 * STEP);
        tensor.data[at] = value;
        if (Number.isNaN(difference)) return; // another head won on the way: no derivative there
        const analytic = gradients[parameter]!.data[at]!;
        compared++;
        if (Math.abs(analytic) > 1e-6) nonzero++;
        assert.ok(
          Math.abs(analytic - difference) <= 1e-6 * Math.max(1, Math.abs(difference)),
          `${parameter}[${at}]: ${analytic}, by differences ${difference}`,
        );
      });
    }
    assert.ok(compared > 200 && nonzero > 150, `${compared} compared, ${nonzero} not zero`);
  });
}

test('a position without weight changes no gradient, though it stays a key', () => {
  const config = tinyLorsaConfig();
  const rng = new Rng(22);
  const weights = randomLorsa(config, rng);
  const x = randomRows(rng, 5, 6);
  const y = randomRows(rng, 5, 6);
  const weight = tokenWeights([0, 1, 1, 1, 1]);
  const before = lorsaGradients(config, weights, { x, y, weight });
  y.data.fill(100, 0, 6);
  const after = lorsaGradients(config, weights, { x, y, weight });
  assert.deepEqual(after.gradients, before.gradients);
  x.data.fill(3, 0, 6);
  const asKey = lorsaGradients(config, weights, { x, y, weight });
  assert.notEqual(asKey.loss, before.loss);
});

for (const changes of [{}, { signed: true }, { decoderNormInGate: false }]) {
  const name = JSON.stringify(changes);
  test(`AuxK ${name}: gradients equal central differences of the loss with the error held fixed`, () => {
    const config = tinyLorsaConfig(changes);
    const rng = new Rng(23);
    const weights = mapWeights(randomLorsa(config, rng), (t) => ({
      ...t,
      data: t.data.map((v) => v / 2),
    }));
    const x = randomRows(rng, 6, config.d_model);
    const y = randomRows(rng, 6, config.d_model);
    const weight = Float64Array.from(tokenWeights([0, 1, 1, 1, 0, 1]));
    const dead = [0, 1, 1, 0, 1, 0, 0, 1];
    const auxiliary = { dead, topK: 2, coefficient: 0.4 };
    const { gradients, auxiliaryLoss, forward } = lorsaGradients(
      config,
      weights,
      { x, y, weight },
      { auxiliary },
    );
    const support = supportOf(forward.featureActs.data);
    const revived = (pre: Float64Array) =>
      gate(
        config,
        { decoderNorms: decoderNorms(weights), topK: 2 },
        pre.map((z, at) => (dead[at % 8] ? z : 0)),
      );
    const auxSupport = supportOf(revived(forward.preActivations.data));
    const fixed = { ...y, data: y.data.map((v, at) => v - forward.reconstruction.data[at]!) };
    /** The main loss, plus AuxK's on an error that stays what it was before anything moved. */
    const lossOf = () => {
      const f = lorsaForward(config, weights, x);
      const z = revived(f.preActivations.data);
      if (supportOf(f.featureActs.data) !== support || supportOf(z) !== auxSupport)
        return Number.NaN;
      const without = { ...weights, b_D: { ...weights.b_D, data: new Float64Array(6) } };
      const rebuilt = lorsaDecode(without, { ...f.featureActs, data: z });
      return lorsaLoss(y, f.reconstruction, weight) + 0.4 * lorsaLoss(fixed, rebuilt, weight);
    };
    assert.ok(
      Math.abs(lossOf() - lorsaLoss(y, forward.reconstruction, weight) - auxiliaryLoss) < 1e-12,
    );

    let compared = 0;
    for (const parameter of parameterNames(config)) {
      const { data } = weights[parameter]!;
      data.forEach((value, at) => {
        const lossAt = (moved: number) => {
          data[at] = moved;
          return lossOf();
        };
        const difference = (lossAt(value + STEP) - lossAt(value - STEP)) / (2 * STEP);
        data[at] = value;
        if (Number.isNaN(difference)) return;
        compared++;
        const analytic = gradients[parameter]!.data[at]!;
        assert.ok(
          Math.abs(analytic - difference) <= 1e-6 * Math.max(1, Math.abs(difference)),
          `${parameter}[${at}]: ${analytic}, by differences ${difference}`,
        );
      });
    }
    assert.ok(compared > 150, `${compared} compared`);
  });
}

const supportOf = (z: Float64Array): string => z.map((v) => (v === 0 ? 0 : 1)).join('');
