import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import {
  addScaled,
  dot,
  frobenius,
  fromRows,
  identityMatrix,
  type Matrix,
  matrix,
  maxAbs,
  multiply,
  multiplyTransposed,
  qr,
  rowTimes,
  toRows,
  transpose,
  zeroMatrix,
} from '@heddle/linalg';
import { tensor } from '@heddle/tensor';
import { softmax } from '../host/index.ts';
import {
  attributeLogits,
  type ContrastSample,
  checkPositions,
  contrastiveCovariance,
  energyRank,
  headSample,
  joined,
  logitsOf,
  rankAboveNull,
  shuffledNull,
  subspaces,
  swapped,
  TOY_SHAPE,
  toy,
  toyClosedForm,
  toyContrasts,
} from './index.ts';

const off = (a: Matrix, b: Matrix): number => maxAbs(addScaled(a, b, -1).data);
const relative = (a: Matrix, b: Matrix): number => frobenius(addScaled(a, b, -1)) / frobenius(b);
const randomBasis = (rng: Rng, rows: number, cols: number): Matrix =>
  qr(
    matrix(
      rows,
      cols,
      Float64Array.from({ length: rows * cols }, () => rng.normal()),
    ),
  ).Q;

function randomSamples(seed: number, count = 12, d_head = 5): ContrastSample[] {
  const rng = new Rng(seed);
  const vector = () => Float64Array.from({ length: d_head }, () => rng.normal() + 0.3);
  return Array.from({ length: count }, (_, i) => ({
    query: vector(),
    positive: Array.from({ length: 1 + (i % 2) }, vector),
    negative: Array.from({ length: 3 }, vector),
  }));
}

// One binary latent in two head dimensions: q = z (2, 0), k = z (0, 3); every pair enumerated once.
const micro = (negatives: (z: number) => number[]): ContrastSample[] =>
  [-1, 1].map((z) => ({
    query: Float64Array.of(2 * z, 0),
    positive: [Float64Array.of(0, 3 * z)],
    negative: negatives(z).map((other) => Float64Array.of(0, 3 * other)),
  }));

test('micro example: one binary latent gives Delta_C = (0 6; 0 0), σ = (6, 0), u = e1, v = e2, rank 1', () => {
  const fit = contrastiveCovariance(micro(() => [-1, 1]));
  assert.deepEqual(toRows(fit.Delta_C), [
    [0, 6],
    [0, 0],
  ]);
  assert.deepEqual([...fit.svd.S], [6, 0]);
  const { query, key } = subspaces(fit);
  assert.deepEqual([...query.data], [1, 0]);
  assert.deepEqual([...key.data], [0, 1]);
  assert.equal(fit.rank, 1);
});

test('micro example: negatives that must differ double it', () => {
  const fit = contrastiveCovariance(micro((z) => [-z]));
  assert.deepEqual(toRows(fit.Delta_C), [
    [0, 12],
    [0, 0],
  ]);
});

test('micro example: enumerated binary latents of r = 2 have mean z zᵀ = I, and −I/3 when the match is left out', () => {
  const all = [
    [-1, -1],
    [-1, 1],
    [1, -1],
    [1, 1],
  ].map((z) => Float64Array.from(z));
  const samples = (isNegative: (z: Float64Array, other: Float64Array) => boolean) =>
    all.map((z) => ({
      query: z,
      positive: [z],
      negative: all.filter((other) => isNegative(z, other)),
    }));
  const independent = contrastiveCovariance(samples(() => true));
  assert.ok(off(independent.C_plus, identityMatrix(2)) < 1e-15);
  assert.ok(off(independent.C_minus, zeroMatrix(2, 2)) < 1e-15);
  const differing = contrastiveCovariance(samples((z, other) => z !== other));
  assert.ok(
    off(
      differing.C_minus,
      fromRows([
        [-1 / 3, 0],
        [0, -1 / 3],
      ]),
    ) < 1e-15,
  );
});

test('micro example: σ = (3, 1, 0.3) has rank 2 at 0.99 and 3 at 0.995; rank grows with the threshold; zero has rank 0', () => {
  const S = Float64Array.of(3, 1, 0.3);
  assert.equal(energyRank(S, 0.99), 2);
  assert.equal(energyRank(S, 0.995), 3);
  let last = 0;
  for (let energy = 0.01; energy <= 1; energy += 0.01) {
    assert.ok(energyRank(S, energy) >= last);
    last = energyRank(S, energy);
  }
  assert.equal(energyRank(Float64Array.of(0, 0)), 0);
  assert.equal(energyRank(S, 1), 3);
});

test('weighting: balanced means are independent of how many negatives a prompt has; the paper sums by prompt', () => {
  const samples = randomSamples(1);
  const [balanced, paper] = (['balanced', 'paper'] as const).map((weighting) =>
    contrastiveCovariance(samples, { weighting }),
  );
  const scaled = (m: Matrix, factor: number) => ({ ...m, data: m.data.map((v) => v * factor) });
  assert.equal(balanced.positivePairs, 18);
  assert.equal(balanced.negativePairs, 36);
  assert.ok(off(paper.C_plus, scaled(balanced.C_plus, 18 / 12)) < 1e-14);
  assert.ok(off(paper.C_minus, scaled(balanced.C_minus, 3)) < 1e-14);
  const doubled = samples.map((s) => ({ ...s, negative: [...s.negative, ...s.negative] }));
  assert.ok(off(contrastiveCovariance(doubled).Delta_C, balanced.Delta_C) < 1e-14);
});

test('a constant added to every key changes nothing with centred keys, and does without', () => {
  const samples = randomSamples(2);
  const moved = samples.map((s) => ({
    ...s,
    positive: s.positive.map((k) => k.map((v) => v + 5)),
    negative: s.negative.map((k) => k.map((v) => v + 5)),
  }));
  const fit = (s: ContrastSample[]) => contrastiveCovariance(s, { centreKeys: true }).Delta_C;
  assert.ok(off(fit(samples), fit(moved)) < 1e-13);
  assert.ok(
    off(contrastiveCovariance(samples).Delta_C, contrastiveCovariance(moved).Delta_C) > 0.1,
  );
});

test('Delta_C is bilinear: scaling queries scales σ; turning head space turns U and V and leaves σ', () => {
  const samples = randomSamples(3);
  const base = contrastiveCovariance(samples);
  const map = (s: ContrastSample[], q: (x: Float64Array) => Float64Array, k = q) =>
    s.map(({ query, positive, negative }) => ({
      query: q(query),
      positive: positive.map(k),
      negative: negative.map(k),
    }));
  const tripled = contrastiveCovariance(
    map(
      samples,
      (x) => x.map((v) => 3 * v),
      (x) => x,
    ),
  );
  tripled.svd.S.forEach((value, i) => {
    assert.ok(Math.abs(value - 3 * base.svd.S[i]) < 1e-12);
  });
  const R = randomBasis(new Rng(4), 5, 5);
  const turned = contrastiveCovariance(map(samples, (x) => rowTimes(x, R)));
  turned.svd.S.forEach((value, i) => {
    assert.ok(Math.abs(value - base.svd.S[i]) < 1e-12);
  });
  assert.ok(off(turned.Delta_C, multiply(multiply(transpose(R), base.Delta_C), R)) < 1e-13);
});

test('subspaces are orthonormal, their projectors idempotent and symmetric', () => {
  const { query, key } = subspaces(contrastiveCovariance(randomSamples(5)), 3);
  for (const basis of [query, key]) {
    assert.ok(off(multiply(transpose(basis), basis), identityMatrix(3)) < 1e-13);
    const P = multiplyTransposed(basis, basis);
    assert.ok(off(multiply(P, P), P) < 1e-13);
    assert.ok(off(P, transpose(P)) < 1e-15);
  }
});

test('untrained toy (3, 5) in 16: Delta_C is the closed form to 5 %, ranks 3 and 5, and the error falls as 1/√N', () => {
  const rng = new Rng(11);
  const model = toy(rng);
  const samples = toyContrasts(model, 1, 80 * 512, rng);
  const fit = contrastiveCovariance(samples);
  const error = relative(fit.Delta_C, toyClosedForm(model, 1));
  assert.ok(error < 0.05, `closed form of z1 off by ${error}`);
  assert.equal(fit.rank, 3);
  const few = contrastiveCovariance(samples.slice(0, 512));
  const growth = relative(few.Delta_C, toyClosedForm(model, 1)) / error;
  assert.ok(growth > 3 && growth < 27, `80 times fewer samples: error × ${growth}, √80 = 8.9`);
  const second = contrastiveCovariance(toyContrasts(model, 2, 16 * 512, rng));
  assert.ok(relative(second.Delta_C, toyClosedForm(model, 2)) < 0.05 * Math.sqrt(5));
  assert.equal(second.rank, 5);
});

test('untrained toy: negatives that must differ scale the closed form by 1 + 1/(2^r − 1)', () => {
  const rng = new Rng(12);
  const model = toy(rng, { ...TOY_SHAPE, r1: 2, r2: 2 });
  const fit = contrastiveCovariance(toyContrasts(model, 1, 20_000, rng, true));
  assert.ok(relative(fit.Delta_C, toyClosedForm(model, 1, true)) < 0.05);
  assert.ok(relative(fit.Delta_C, toyClosedForm(model, 1)) > 0.25);
});

test('untrained toy (7, 7): 1 % of the energy hides a true dimension; the null of shuffled labels finds all seven', () => {
  const rng = new Rng(13);
  const model = toy(rng, { ...TOY_SHAPE, r1: 7, r2: 7 });
  const samples = toyContrasts(model, 1, 8_192, rng);
  const fit = contrastiveCovariance(samples);
  const chance = shuffledNull(samples, new Rng(1), { draws: 20 });
  assert.equal(rankAboveNull(fit.svd.S, chance), 7);
  assert.ok(fit.rank <= 7);
  assert.ok(fit.svd.S[0] > 8 * chance[19], 'shuffled labels leave noise');
});

test('shuffling deals one-sided samples anew and keeps the number of pairs', () => {
  const samples = randomSamples(6).map((s, i) =>
    i % 2 === 0 ? { ...s, positive: [] } : { ...s, negative: [] },
  );
  const chance = shuffledNull(samples, new Rng(2), { draws: 5 });
  assert.equal(chance.length, 5);
  assert.ok(new Set(chance).size > 1, 'the draws differ');
  assert.deepEqual(chance, shuffledNull(samples, new Rng(2), { draws: 5 }), 'same seed, same null');
});

test('swap is an involution; a full basis exchanges the logits, an empty one does nothing; attention sums to 1', () => {
  const rng = new Rng(7);
  const [q, a, b] = [1, 2, 3].map(() => Float64Array.from({ length: 5 }, () => rng.normal()));
  const basis = randomBasis(rng, 5, 2);
  const [a1, b1] = swapped(a, b, basis);
  const [a2, b2] = swapped(a1, b1, basis);
  assert.ok(
    maxAbs(a2.map((v, i) => v - a[i])) < 1e-15 && maxAbs(b2.map((v, i) => v - b[i])) < 1e-15,
  );
  const [a3, b3] = swapped(a, b, identityMatrix(5));
  assert.ok(maxAbs(logitsOf(q, [a3, b3]).map((v, i) => v - logitsOf(q, [b, a])[i])) < 1e-14);
  const [a4, b4] = swapped(a, b, zeroMatrix(5, 0));
  assert.deepEqual([a4, b4], [a, b]);
  const attention = softmax(logitsOf(q, [a1, b1]));
  assert.ok(Math.abs(attention[0] + attention[1] - 1) < 1e-15);
  assert.ok(Math.abs(dot(q, a1) + dot(q, b1) - dot(q, a) - dot(q, b)) < 1e-14);
});

test('attribution terms sum to the logit for every key, in both methods; nothing is left when the bases span everything', () => {
  const rng = new Rng(8);
  const query = Float64Array.from({ length: 6 }, () => rng.normal());
  const keys = matrix(
    4,
    6,
    Float64Array.from({ length: 24 }, () => rng.normal()),
  );
  const features = [
    { name: 'order', basis: randomBasis(rng, 6, 2) },
    { name: 'lexical', basis: randomBasis(rng, 6, 3) },
  ];
  for (const method of ['sequential', 'orthogonalised'] as const) {
    const { terms, priority, explained } = attributeLogits(query, keys, features, method);
    assert.deepEqual(priority, ['order', 'lexical']);
    for (let s = 0; s < 4; s++) {
      const sum = terms.reduce((total, { byKey }) => total + byKey[s], 0);
      assert.ok(Math.abs(sum - dot(query, keys.data.subarray(6 * s, 6 * s + 6))) < 1e-13, method);
    }
    assert.ok(explained < 1);
  }
  const [one, two] = (['sequential', 'orthogonalised'] as const).map(
    (method) => attributeLogits(query, keys, features, method).terms,
  );
  assert.ok(maxAbs(one[0].byKey.map((v, i) => v - two[0].byKey[i])) < 1e-14, 'first is the same');
  assert.ok(
    maxAbs(one[1].byKey.map((v, i) => v - two[1].byKey[i])) > 1e-3,
    'overlap goes elsewhere',
  );
  const whole = [features[0], { name: 'rest', basis: randomBasis(rng, 6, 6) }];
  const { terms, explained } = attributeLogits(query, keys, whole);
  assert.ok(maxAbs(terms[2].byKey) < 1e-13 && Math.abs(explained - 1) < 1e-13);
  assert.equal(joined(features[0].basis, features[1].basis).cols, 5);
});

test('grouped queries: heads of a group share their key exactly, and take their own query', () => {
  const q = tensor(
    'f64',
    [3, 4, 2],
    Float64Array.from({ length: 24 }, (_, i) => i),
  );
  const k = tensor(
    'f64',
    [3, 2, 2],
    Float64Array.from({ length: 12 }, (_, i) => 100 + i),
  );
  const line = { query: 2, positive: [0], negative: [1, 2] };
  const samples = [0, 1, 2, 3].map((head) => headSample({ q, k }, head, line));
  assert.deepEqual(samples[0].positive, samples[1].positive);
  assert.deepEqual([...samples[1].positive[0]], [100, 101]);
  assert.deepEqual([...samples[2].positive[0]], [102, 103]);
  assert.deepEqual([...samples[3].query], [22, 23]);
  assert.deepEqual(
    samples[3].negative.map((v) => [...v]),
    [
      [106, 107],
      [110, 111],
    ],
  );
});

test('bad positions are refused with the line and the limit', () => {
  const refuse = (line: { query: number; positive: number[]; negative: number[] }, match: RegExp) =>
    assert.throws(() => checkPositions(line, 12, 'contrasts[3]'), match);
  refuse({ query: 40, positive: [0], negative: [1] }, /contrasts\[3\]\.query is 40; .* 12 tokens/);
  refuse({ query: 5, positive: [6], negative: [1] }, /contrasts\[3\]\.positive\[0\] is 6/);
  refuse({ query: 5, positive: [1], negative: [2, -1] }, /negative\[1\] is -1/);
  refuse({ query: 5, positive: [1], negative: [1] }, /position 1 as positive and as negative/);
  assert.throws(
    () => contrastiveCovariance([{ query: Float64Array.of(1), positive: [], negative: [] }]),
    /0 positive and 0 negative/,
  );
});
