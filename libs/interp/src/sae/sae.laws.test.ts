import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import { ADAM_DEFAULTS } from '../lorsa/adam.ts';
import { AUX } from '../lorsa/auxiliary-graph.ts';
import { stepFeeds } from '../lorsa/train-graph.ts';
import { saeForward, winners } from './forward.reference.ts';
import { type SaeAuxiliary, saeGradients } from './gradients.reference.ts';
import { initialiseSae } from './initialise.ts';
import {
  mapSae,
  SAE_PARAMETERS,
  type SaeConfig,
  type SaeWeights,
  saeDecoderNorms,
  saeShape,
} from './sae-config.ts';
import { foldSae } from './sae-files.ts';
import { buildSaeActivations } from './sae-graph.ts';
import { buildSaeLoss, buildSaeStep, SAE_STATE, saeStateShape } from './train-graph.ts';

const CONFIG: SaeConfig = { d_model: 5, d_sae: 12, topK: 4 };
const TOKENS = 9;

function random(rng: Rng, shape: readonly number[]): Tensor<'f64'> {
  const t = zeros('f64', shape);
  return { ...t, data: t.data.map(() => rng.normal()) };
}

function makeCase(seed = 7) {
  const rng = new Rng(seed);
  const weights = Object.fromEntries(
    SAE_PARAMETERS.map((name) => [name, random(rng, saeShape(CONFIG, name))]),
  ) as unknown as SaeWeights<Tensor<'f64'>>;
  const y = random(rng, [TOKENS, CONFIG.d_model]);
  const valid = Float64Array.of(0, 1, 1, 1, 1, 0, 1, 1, 0);
  return { weights, y, valid, weight: valid.map((v) => v / 6) };
}

function near(actual: ArrayLike<number>, expected: ArrayLike<number>, within: number, what = '') {
  assert.equal(actual.length, expected.length, what);
  for (let at = 0; at < expected.length; at++) {
    const off = Math.abs(actual[at] - expected[at]);
    const scale = Math.max(1, Math.abs(expected[at]));
    assert.ok(off <= within * scale, `${what}[${at}]: ${actual[at]}, ${expected[at]}`);
  }
}

const k = tensor('i64', [1], BigInt64Array.of(BigInt(CONFIG.topK)));

test('gradients by hand are central differences of the loss', () => {
  const given = makeCase();
  const { gradients } = saeGradients(CONFIG, given.weights, given);
  const h = 1e-6;
  for (const name of SAE_PARAMETERS) {
    const slopes = given.weights[name].data.map((_, at) => {
      const loss = (by: number) => {
        const moved = mapSae(given.weights, (t, other) => {
          if (other !== name) return t;
          return { ...t, data: t.data.map((v, index) => (index === at ? v + by : v)) };
        });
        return saeGradients(CONFIG, moved, given).loss;
      };
      return (loss(h) - loss(-h)) / (2 * h);
    });
    near(gradients[name].data, slopes, 1e-6, name);
  }
});

const AUXILIARY = {
  coefficient: 0.3,
  topK: 3,
  dead: Array.from({ length: CONFIG.d_sae }, (_, i) => i % 2 === 0),
};

test('with AuxK too, what the dead features rebuild being held fixed', () => {
  const given = { ...makeCase(), auxiliary: AUXILIARY };
  const { gradients, loss, auxiliaryLoss } = saeGradients(CONFIG, given.weights, given);
  assert.ok(auxiliaryLoss > 0 && loss > auxiliaryLoss);
  const still = saeForward(CONFIG, given.weights, given.y).reconstruction.data;
  // Its own part alone: the dead features as an autoencoder without bias whose target is the fixed error.
  const own = (weights: SaeWeights) => {
    const norms = saeDecoderNorms(weights);
    const { preActivations } = saeForward(CONFIG, weights, given.y);
    let sum = 0;
    for (let t = 0; t < TOKENS; t++) {
      const pre = preActivations.data.subarray(t * CONFIG.d_sae, (t + 1) * CONFIG.d_sae);
      const dead = norms.map((norm, i) => (AUXILIARY.dead[i] ? norm : 0));
      for (let d = 0; d < CONFIG.d_model; d++) {
        const at = t * CONFIG.d_model + d;
        let rest = still[at] - given.y.data[at];
        for (const i of winners(pre, dead, AUXILIARY.topK)) {
          rest += pre[i] * weights.W_dec.data[i * CONFIG.d_model + d];
        }
        sum += AUXILIARY.coefficient * given.weight[t] * rest * rest;
      }
    }
    return sum;
  };
  near([own(given.weights)], [auxiliaryLoss], 1e-12);
  const main = saeGradients(CONFIG, given.weights, makeCase()).gradients;
  const h = 1e-6;
  for (const name of SAE_PARAMETERS) {
    const slopes = given.weights[name].data.map((_, at) => {
      const moved = (by: number) =>
        mapSae(given.weights, (t, other) => {
          if (other !== name) return t;
          return { ...t, data: t.data.map((v, index) => (index === at ? v + by : v)) };
        });
      return main[name].data[at] + (own(moved(h)) - own(moved(-h))) / (2 * h);
    });
    near(gradients[name].data, slopes, 1e-6, name);
  }
});

const NOBODY_DEAD = { ...AUXILIARY, dead: Array.from(AUXILIARY.dead, () => 0) };
for (const [name, auxiliary] of [
  ['without AuxK', undefined],
  ['with AuxK', AUXILIARY],
  ['with AuxK and nobody dead', NOBODY_DEAD],
] as const) {
  test(`${name}: loss, sums, firing and every gradient of the graph are the twin’s`, () => {
    agreesWithTwin(auxiliary);
  });
}

function agreesWithTwin(auxiliary: SaeAuxiliary | undefined): void {
  const isAuxiliary = auxiliary !== undefined;
  const { weights, y, valid, weight } = makeCase();
  const twin = saeGradients(CONFIG, weights, { y, weight, ...(auxiliary ? { auxiliary } : {}) });
  assert.equal(twin.auxiliaryLoss > 0, auxiliary === AUXILIARY);
  const dead = auxiliary?.dead ?? AUXILIARY.dead;
  const silent = Float64Array.from(dead, (is) => (is ? 100 : 99));
  const auxiliaryFeeds = {
    [AUX.silent]: tensor('f64', [CONFIG.d_sae], silent),
    [AUX.deadTokens]: tensor('f64', [], Float64Array.of(100)),
    [AUX.coefficient]: tensor('f64', [], Float64Array.of(AUXILIARY.coefficient)),
    [AUX.topK]: tensor('i64', [1], BigInt64Array.of(BigInt(AUXILIARY.topK))),
  };
  const moments = Object.fromEntries(
    SAE_STATE.filter((feed) => feed.includes('.')).map((feed) => [
      feed,
      zeros('f64', saeStateShape(CONFIG, feed)),
    ]),
  );
  const numbers = { topK: CONFIG.topK, rate: 0.01, step: 1, clipNorm: 1e30, adam: ADAM_DEFAULTS };
  const out = interpret(buildSaeStep(CONFIG, { withGradients: true, auxiliary: isAuxiliary }), {
    ...stepFeeds(numbers),
    ...(isAuxiliary ? auxiliaryFeeds : {}),
    ...weights,
    ...moments,
    y: { ...y, shape: [3, 3, CONFIG.d_model] },
    valid: tensor('f64', [3, 3], valid),
  });
  const data = (name: string) => out[name].data as Float64Array;
  near(data('loss'), [twin.loss], 1e-12, 'loss');
  let squares = 0;
  for (const name of SAE_PARAMETERS) {
    near(data(`gradient.${name}`), twin.gradients[name].data, 1e-11, name);
    squares += twin.gradients[name].data.reduce((sum, g) => sum + g * g, 0);
  }
  near(data('gradient_norm'), [Math.sqrt(squares)], 1e-11, 'norm');
  const fired = Array.from({ length: CONFIG.d_sae }, (_, i) => {
    return valid.reduce((n, v, t) => {
      return n + (v && twin.forward.featureActs.data[t * CONFIG.d_sae + i] > 0 ? 1 : 0);
    }, 0);
  });
  near(data('fired'), fired, 0, 'fired');
  near(data('active_sum'), [fired.reduce((a, b) => a + b)], 0);
  near(data('tokens'), [6], 0);
  const rows = [...valid.keys()].filter((t) => valid[t]);
  const total = Array.from({ length: CONFIG.d_model }, (_, d) => {
    return rows.reduce((sum, t) => sum + y.data[t * CONFIG.d_model + d], 0);
  });
  near(data('total'), total, 1e-12, 'total');
  if (!isAuxiliary) return;
  near(data(AUX.loss), [twin.auxiliaryLoss], 1e-12);
  const next = fired.map((count, i) => (count > 0 ? 0 : silent[i] + 6));
  near(data(`next.${AUX.silent}`), next, 0, 'silence');
}

test('the engine’s activations are the twin’s: the same winners, strongest first', () => {
  const { weights, y } = makeCase(11);
  const twin = saeForward(CONFIG, weights, y);
  const fed = { ...weights, y: { ...y, shape: [1, TOKENS, CONFIG.d_model] }, k };
  const out = interpret(buildSaeActivations(CONFIG), fed);
  near(out['reconstruction'].data as Float64Array, twin.reconstruction.data, 1e-12);
  const dense = new Float64Array(TOKENS * CONFIG.d_sae);
  out['indices'].data.forEach((index, at) => {
    const value = Number(out['values'].data[at]);
    dense[Math.floor(at / CONFIG.topK) * CONFIG.d_sae + Number(index)] += value;
  });
  near(dense, twin.featureActs.data, 1e-12);
  assert.ok(twin.featureActs.data.some((f) => f > 0));
});

test('at most K features are active, none of them negative, and fewer where fewer are positive', () => {
  const { weights, y } = makeCase(3);
  const shy = { ...weights, b_enc: { ...weights.b_enc, data: weights.b_enc.data.map(() => -6) } };
  const active = (w: SaeWeights, t: number) => {
    const { featureActs } = saeForward(CONFIG, w, y);
    const row = featureActs.data.subarray(t * CONFIG.d_sae, (t + 1) * CONFIG.d_sae);
    assert.ok(row.every((f) => f >= 0));
    return row.filter((f) => f > 0).length;
  };
  const counts = [...Array(TOKENS).keys()].map((t) => active(shy, t));
  assert.ok(Math.max(...counts) <= CONFIG.topK && Math.min(...counts) < CONFIG.topK);
});

test('(c w_enc, c b_enc, w_dec / c) is the same feature', () => {
  const { weights, y } = makeCase();
  const c = (i: number) => 0.2 + i;
  const { d_model, d_sae } = CONFIG;
  const scaled = mapSae(weights, (t, name) => {
    const data = t.data.map((v, at) => {
      if (name === 'W_enc' || name === 'b_enc') return v * c(at % d_sae);
      return name === 'W_dec' ? v / c(Math.floor(at / d_model)) : v;
    });
    return { ...t, data };
  });
  const [a, b] = [saeForward(CONFIG, weights, y), saeForward(CONFIG, scaled, y)];
  near(b.reconstruction.data, a.reconstruction.data, 1e-12);
});

test('folded to the host’s units, plain TopK without the decoder’s norm gives the same reconstruction', () => {
  const { weights, y } = makeCase(5);
  const factor = 3;
  const raw = { ...y, data: y.data.map((v) => v / factor) };
  const folded = foldSae(weights, factor);
  const expected = saeForward(CONFIG, weights, y).reconstruction.data.map((v) => v / factor);
  near(plainTopK(folded, raw), expected, 1e-5); // the file holds fp32
  for (let i = 0; i < CONFIG.d_sae; i++) {
    const row = folded.W_dec.data.subarray(i * CONFIG.d_model, (i + 1) * CONFIG.d_model);
    near([row.reduce((sum, v) => sum + v * v, 0)], [1], 1e-6, 'norm');
  }
});

/** Encode, keep the K largest, ReLU, decode: as other readers of the file do it. */
function plainTopK(weights: SaeWeights, y: Tensor<'f64'>): number[] {
  const { d_model, d_sae, topK } = CONFIG;
  return [...Array(TOKENS).keys()].flatMap((t) => {
    const pre = Array.from({ length: d_sae }, (_, i) => {
      let sum = weights.b_enc.data[i];
      for (let d = 0; d < d_model; d++) {
        sum +=
          (y.data[t * d_model + d] - weights.b_dec.data[d]) * weights.W_enc.data[d * d_sae + i];
      }
      return { i, f: sum };
    });
    const kept = pre.sort((a, b) => b.f - a.f).slice(0, topK);
    return Array.from({ length: d_model }, (_, d) =>
      kept.reduce((sum, { i, f }) => {
        return sum + Math.max(0, f) * weights.W_dec.data[i * d_model + d];
      }, weights.b_dec.data[d]),
    );
  });
}

test('a start has unit decoder rows, their transpose as encoder, and the mean as bias', () => {
  const mean = tensor('f64', [5], Float64Array.of(1, 2, 3, 4, 5));
  const start = initialiseSae(CONFIG, mean, new Rng(1));
  for (let i = 0; i < CONFIG.d_sae; i++) {
    let square = 0;
    for (let d = 0; d < 5; d++) {
      assert.equal(start.W_dec.data[i * 5 + d], start.W_enc.data[d * CONFIG.d_sae + i]);
      square += start.W_dec.data[i * 5 + d] ** 2;
    }
    near([square], [1], 1e-12);
  }
  assert.deepEqual([...start.b_dec.data], [1, 2, 3, 4, 5]);
  const out = interpret(buildSaeLoss(CONFIG), {
    ...start,
    k,
    y: tensor('f64', [1, 1, 5], Float64Array.of(1, 2, 3, 4, 5)),
    valid: tensor('f64', [1, 1], Float64Array.of(1)),
  });
  near(out['loss'].data as Float64Array, [0], 1e-24); // the mean itself is written by the bias alone
});
