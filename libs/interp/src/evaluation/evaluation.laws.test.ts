import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { applyLorsa } from '../lorsa/apply.reference.ts';
import type { LorsaLayer } from '../lorsa/checkpoint.ts';
import type { LorsaConfig } from '../lorsa/lorsa-config.ts';
import { toF32 } from '../lorsa/lorsa-weights.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from '../lorsa/tiny-lorsa.ts';
import { saeForward } from '../sae/forward.reference.ts';
import { initialiseSae } from '../sae/initialise.ts';
import {
  buildLorsaEvaluation,
  type EvaluationBatch,
  evaluationConstants,
  evaluationFeeds,
} from './lorsa-evaluation.ts';
import {
  addMeasures,
  emptyReconstructionSums,
  reconstructionFigures,
  tokensOf,
  zeroFvu,
} from './reconstruction-sums.ts';
import { buildSaeEvaluation } from './sae-evaluation.ts';

const D = 6;
const LENGTHS = [5, 3];
const POS = 5;
const DOCUMENTS = [7n, 2n ** 63n + 5n];

/** Two sequences, the second padded; the first token of each is special. */
function makeBatch(rng: Rng): EvaluationBatch {
  const rows = () => {
    const t = toF32(randomRows(rng, 2, POS, D));
    t.data.fill(0, (POS + 3) * D); // as caches hold padding
    return { ...t, data: t.data.map((v) => (v === 0 ? 0 : v + 2)) };
  };
  return {
    x: rows(),
    y: rows(),
    valid: tensor('u8', [2, POS], Uint8Array.of(0, 1, 1, 1, 1, 0, 1, 1, 0, 0)),
    lengths: LENGTHS,
  };
}

function makeLayer(rng: Rng, changes: Partial<LorsaConfig>, own: Partial<LorsaLayer>): LorsaLayer {
  const config = tinyLorsaConfig(changes);
  const weights = randomLorsa(config, rng);
  if (!config.useDecoderBias) weights.b_D.data.fill(0);
  const logThreshold = toF32(
    tensor(
      'f64',
      [8],
      new Float64Array(8).map(() => Math.log(0.7)),
    ),
  );
  return {
    config,
    weights: config.activation === 'jumprelu' ? { ...weights, logThreshold } : weights,
    hookIn: 'in',
    hookOut: 'out',
    normalisation: 'dataset-wise',
    norms: { input: 3, output: 5 },
    ...own,
  };
}

const TOKENWISE = { normalisation: 'token-wise', norms: undefined } as const;
const BATCHWISE = { normalisation: 'batch-wise', norms: undefined } as const;
const FOLDED = { normalisation: 'inference', norms: undefined } as const;
const ROTARY = { dim: 2, base: 100, layout: 'half' } as const;
const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>, Partial<LorsaLayer>])[] = [
  ['topk', {}, {}],
  ['rotary, folded', { rotary: ROTARY }, FOLDED],
  ['token-wise', {}, TOKENWISE],
  ['batch-wise', { decoderNormInGate: false }, BATCHWISE],
  ['signed, without decoder bias', { signed: true, useDecoderBias: false }, {}],
  ['relu', { activation: 'relu' }, {}],
  ['jumprelu', { activation: 'jumprelu' }, {}],
];

/** Sequence by sequence on the twin, padding cut away. */
function twinOf(layer: LorsaLayer, { x, y }: EvaluationBatch) {
  return LENGTHS.map((length, b) => {
    const rows = (t: Tensor) =>
      tensor(
        'f64',
        [1, length, D],
        Float64Array.from((t.data as Float32Array).subarray(b * POS * D, (b * POS + length) * D)),
      );
    return applyLorsa(layer, rows(x), rows(y));
  });
}

for (const [name, changes, own] of VARIANTS) {
  test(`${name}: what the graph sums is what the twin reconstructs, padding and special tokens left out`, () => {
    const rng = new Rng(31);
    const layer = makeLayer(rng, changes, own);
    const batch = makeBatch(rng);
    const centre = Float64Array.from({ length: D }, () => 1.5);
    const out = interpret(buildLorsaEvaluation(layer.config, 1), {
      ...evaluationConstants(layer, centre),
      ...evaluationFeeds(layer, batch, [layer.config.topK]),
    });
    const data = (output: string) => out[output].data as Float64Array;
    twinOf(layer, batch).forEach(({ reconstruction, featureActs }, b) => {
      let [error, relative, square, active] = [0, 0, 0, 0];
      for (let t = 1; t < LENGTHS[b]; t++) {
        let [off, size] = [0, 0];
        for (let d = 0; d < D; d++) {
          const at = (b * POS + t) * D + d;
          const y = batch.y.data[at];
          off += (y - reconstruction.data[t * D + d]) ** 2;
          size += y * y;
          square += (y - 1.5) ** 2;
          const given = data('reconstruction')[at];
          assert.ok(
            Math.abs(given - reconstruction.data[t * D + d]) < 1e-5 * (1 + Math.abs(given)),
          );
        }
        error += off;
        relative += Math.sqrt(off / size);
        active += featureActs.data.subarray(t * 8, (t + 1) * 8).filter((z) => z !== 0).length;
      }
      // Weights and factors are fed in single precision.
      const close = (output: string, expected: number) =>
        assert.ok(
          Math.abs(data(output)[b] - expected) <= 1e-5 * (1 + expected),
          `${output} ${data(output)[b]}, ${expected}`,
        );
      close('error_0', error);
      close('relative_0', relative);
      close('active_0', active);
      close('square', square);
      close('tokens', LENGTHS[b] - 1);
      assert.ok(active > 0);
    });
  });
}

test('batchtopk chooses K per counted token among all of them', () => {
  const rng = new Rng(5);
  const layer = makeLayer(rng, { activation: 'batchtopk', topK: 2 }, FOLDED);
  const full = makeBatch(rng);
  const whole = {
    ...full,
    valid: tensor('u8', [2, POS], new Uint8Array(10).fill(1)),
    lengths: [5, 5],
  };
  const out = interpret(buildLorsaEvaluation(layer.config, 1), {
    ...evaluationConstants(layer, new Float64Array(D)),
    ...evaluationFeeds(layer, whole, [2]),
  });
  const twin = applyLorsa(layer, whole.x, whole.y);
  const active = (out['active_0'].data as Float64Array).reduce((a, b) => a + b);
  assert.equal(active, twin.featureActs.data.filter((z) => z !== 0).length);
  assert.equal(active, 2 * 10);
});

test('several K at once are each what one alone is, and all heads are the dense ReLU layer', () => {
  const rng = new Rng(9);
  const layer = makeLayer(rng, {}, {});
  const batch = makeBatch(rng);
  const measured = (topK: readonly number[]) =>
    interpret(buildLorsaEvaluation(layer.config, topK.length), {
      ...evaluationConstants(layer, new Float64Array(D)),
      ...evaluationFeeds(layer, batch, topK),
    });
  const all = measured([3, 1, 8]);
  [3, 1, 8].forEach((k, j) => {
    const one = measured([k]);
    for (const name of ['error', 'relative', 'active']) {
      assert.deepEqual(all[`${name}_${j}`].data, one[`${name}_0`].data, `${name} at ${k}`);
    }
  });
  const relu = { ...layer, config: { ...layer.config, activation: 'relu' as const } };
  const dense = interpret(buildLorsaEvaluation(relu.config, 1), {
    ...evaluationConstants(relu, new Float64Array(D)),
    ...evaluationFeeds(relu, batch, [1]),
  });
  assert.deepEqual(all['error_2'].data, dense['error_0'].data);
});

test('an autoencoder is measured by the same sums', () => {
  const rng = new Rng(4);
  const config = { d_model: D, d_sae: 10, topK: 3 };
  const batch = makeBatch(rng);
  const weights = initialiseSae(config, tensor('f64', [D], new Float64Array(D).fill(1)), rng);
  const out = interpret(buildSaeEvaluation(config, 2), {
    ...weights,
    centre: tensor('f64', [D], new Float64Array(D)),
    y: batch.y,
    valid: tensor('f64', [2, POS], Float64Array.from(batch.valid.data)),
    k: tensor('i64', [1], BigInt64Array.of(3n)),
    k_1: tensor('i64', [1], BigInt64Array.of(1n)),
  });
  const rows = { ...batch.y, shape: [2 * POS, D] };
  [3, 1].forEach((topK, j) => {
    const twin = saeForward({ ...config, topK }, weights, rows);
    for (let b = 0; b < 2; b++) {
      let error = 0;
      for (let t = b * POS; t < (b + 1) * POS; t++) {
        if (!batch.valid.data[t]) continue;
        for (let d = 0; d < D; d++) {
          error += (twin.reconstruction.data[t * D + d] - batch.y.data[t * D + d]) ** 2;
        }
      }
      assert.ok(Math.abs((out[`error_${j}`].data as Float64Array)[b] - error) < 1e-9);
    }
  });
});

/** What `measureGraph` gives for one sequence and one K of a reconstruction made by hand. */
function byHand(y: readonly number[][], made: (row: number[]) => number[], centre: number[]) {
  const square = (row: readonly number[]) => row.reduce((a, v) => a + v * v, 0);
  const minus = (a: readonly number[], b: readonly number[]) => a.map((v, d) => v - b[d]);
  const off = y.map((row) => minus(row, made(row)));
  const about = y.map((row) => minus(row, centre));
  const values: Record<string, number[]> = {
    tokens: [y.length],
    square: [about.reduce((a, row) => a + square(row), 0)],
    total: centre.map((_, d) => about.reduce((a, row) => a + row[d], 0)),
    fired: [0],
    error_0: [off.reduce((a, row) => a + square(row), 0)],
    relative_0: [off.reduce((a, row, t) => a + Math.sqrt(square(row) / square(y[t])), 0)],
    active_0: [0],
  };
  return (name: string) => values[name];
}

test('EV is 0 for the mean, 1 for y, and the zero vector’s FVU is what zeroFvu says; the centre changes nothing', () => {
  const rng = new Rng(12);
  const documents = Array.from({ length: 6 }, (_, g) => {
    return Array.from({ length: 3 + g }, () => [1, 2, 3].map((m) => m + rng.normal()));
  });
  const all = documents.flat();
  const mean = [0, 1, 2].map((d) => all.reduce((a, row) => a + row[d], 0) / all.length);
  const figures = (made: (row: number[]) => number[], centre: number[]) => {
    const sums = emptyReconstructionSums({ d_model: 3, features: 1, kCount: 1 });
    documents.forEach((y, g) => {
      addMeasures(sums, [BigInt(g)], byHand(y, made, centre));
    });
    return {
      ...reconstructionFigures(sums, 0),
      zero: zeroFvu(sums, centre),
      tokens: tokensOf(sums),
    };
  };
  for (const centre of [
    [0, 0, 0],
    [1, 2, 3],
    [-4, 0, 9],
  ]) {
    const close = (actual: number, expected: number) =>
      assert.ok(Math.abs(actual - expected) < 1e-9, `${actual}, ${expected}`);
    close(figures(() => mean, centre).ev, 0);
    const exact = figures((row) => row, centre);
    close(exact.fvu.value, 0);
    close(exact.ev, 1);
    close(exact.relativeL2, 0);
    const nothing = figures(() => [0, 0, 0], centre);
    close(nothing.fvu.value, nothing.zero);
    close(nothing.relativeL2, 1);
    assert.equal(nothing.tokens, all.length);
  }
});

test('documents of any hash fall into the groups', () => {
  const sums = emptyReconstructionSums({ d_model: 1, features: 1, kCount: 1 });
  addMeasures(sums, [...DOCUMENTS, 2n ** 64n - 1n], (name) =>
    name === 'total' || name === 'fired' ? [0] : [1, 2, 4],
  );
  assert.equal(tokensOf(sums), 7);
  assert.equal(sums.tokens[7], 1);
  assert.equal(sums.tokens[1023], 4);
});
