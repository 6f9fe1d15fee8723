import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { interpret } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { ADAM_DEFAULTS, adamCorrections, adamStep } from './adam.ts';
import { rotaryFeeds } from './forward-graph.ts';
import { lorsaGradients } from './gradients.reference.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, parameterNames, parameterShape } from './lorsa-weights.ts';
import { addSums, emptySums, figures, measure } from './metrics.ts';
import { nextName, stateFeeds } from './state-feeds.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';
import { buildTrainStep, stepFeeds } from './train-graph.ts';

const BATCH = 2;
const POS = 5;

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['plain', {}],
  ['signed', { signed: true }],
  [
    'no decoder norm in the gate, no decoder bias',
    { decoderNormInGate: false, useDecoderBias: false },
  ],
  ['rotary and query-key norm', { rotary: { dim: 2, base: 100, layout: 'half' }, qkNormEps: 1e-6 }],
];

function near(actual: ArrayLike<number | bigint>, expected: ArrayLike<number>, what: string) {
  assert.equal(actual.length, expected.length, what);
  for (let at = 0; at < expected.length; at++) {
    const [a, e] = [Number(actual[at]), expected[at]!];
    assert.ok(Math.abs(a - e) <= 1e-9 * Math.max(1, Math.abs(e)), `${what}[${at}]: ${a}, ${e}`);
  }
}

interface Case {
  readonly config: LorsaConfig;
  readonly weights: LorsaWeights<Tensor<'f64'>>;
  readonly x: Tensor<'f64'>;
  readonly y: Tensor<'f64'>;
  readonly valid: Float64Array;
  readonly moments: Readonly<Record<string, Tensor<'f64'>>>;
}

function makeCase(changes: Partial<LorsaConfig>): Case {
  const config = tinyLorsaConfig(changes);
  const rng = new Rng(71);
  const weights = randomLorsa(config, rng);
  if (!config.useDecoderBias) weights.b_D.data.fill(0);
  const moments = Object.fromEntries(
    parameterNames(config).flatMap((name) => {
      const shape = parameterShape(config, name);
      const m = randomRows(rng, ...shape);
      const v = randomRows(rng, ...shape);
      v.data.forEach((value, at) => {
        v.data[at] = value ** 2;
      });
      return [
        [stateFeeds(name).m, m],
        [stateFeeds(name).v, v],
      ];
    }),
  );
  return {
    config,
    weights,
    x: randomRows(rng, BATCH, POS, 6),
    y: randomRows(rng, BATCH, POS, 6),
    valid: Float64Array.of(0, 1, 1, 1, 1, 0, 1, 1, 0, 0), // special tokens and padding
    moments,
  };
}

const AUXILIARY = { dead: [0, 1, 1, 0, 1, 0, 0, 1], topK: 2, coefficient: 0.4 };

/** The twin on every sequence; gradients and sums added. */
function reference({ config, weights, x, y, valid }: Case, auxiliary?: typeof AUXILIARY) {
  const count = valid.reduce((a, b) => a + b, 0);
  const weight = valid.map((v) => v / count); // fp64, as the interpreter divides
  const sequences = Array.from({ length: BATCH }, (_, b) => {
    const rows = (t: Tensor<'f64'>) =>
      tensor('f64', [POS, 6], t.data.slice(b * POS * 6, (b + 1) * POS * 6));
    const own = weight.subarray(b * POS, (b + 1) * POS);
    const batch = { x: rows(x), y: rows(y), weight: own };
    const result = lorsaGradients(config, weights, batch, auxiliary ? { auxiliary } : {});
    const sums = measure(6, {
      y: rows(y).data,
      reconstruction: result.forward.reconstruction.data,
      featureActs: result.forward.featureActs.data,
      valid: own,
    });
    return { ...result, sums };
  });
  const gradient = (name: keyof LorsaWeights) =>
    sequences.map((s) => s.gradients[name]!.data).reduce((a, b) => a.map((v, at) => v + b[at]!));
  return {
    loss: sequences.reduce((a, s) => a + s.loss, 0),
    auxiliaryLoss: sequences.reduce((a, s) => a + s.auxiliaryLoss, 0),
    gradient,
    sums: sequences.map((s) => s.sums).reduce(addSums, emptySums(6)),
    fired: Array.from({ length: config.n_ov_heads }, (_, i) =>
      sequences.reduce(
        (n, s, b) =>
          n +
          [...Array(POS).keys()].filter(
            (t) =>
              valid[b * POS + t] && s.forward.featureActs.data[t * config.n_ov_heads + i] !== 0,
          ).length,
        0,
      ),
    ),
  };
}

function runGraph(given: Case, clipNorm: number, auxiliary?: typeof AUXILIARY) {
  const { config, weights, x, y, valid, moments } = given;
  const numbers = { topK: config.topK, rate: 0.01, step: 3, clipNorm, adam: ADAM_DEFAULTS };
  // The same scalars in fp64, so that fp32's rounding of β2 hides no error of the graph.
  const { first, second } = adamCorrections(ADAM_DEFAULTS, numbers.step);
  const exact = { ...ADAM_DEFAULTS, learning_rate: 0.01, correction1: first, correction2: second };
  const scalars = {
    ...stepFeeds(numbers),
    ...Object.fromEntries(
      Object.entries(exact).map(([name, value]) => [
        name,
        tensor('f64', [], Float64Array.of(value)),
      ]),
    ),
  };
  const parameters = Object.fromEntries(parameterNames(config).map((n) => [n, weights[n]!]));
  const aux: Record<string, Tensor> = auxiliary
    ? {
        aux_k: tensor('i64', [1], BigInt64Array.of(BigInt(auxiliary.topK))),
        aux_coefficient: tensor('f64', [], Float64Array.of(auxiliary.coefficient)),
        dead_tokens: tensor('f64', [], Float64Array.of(100)),
        silent_tokens: tensor(
          'f64',
          [8],
          Float64Array.from(auxiliary.dead, (d) => 99.5 + d),
        ),
      }
    : {};
  return interpret(buildTrainStep(config, { withGradients: true, auxiliary: !!auxiliary }), {
    ...aux,
    ...scalars,
    ...parameters,
    ...moments,
    ...rotaryFeeds(config, POS),
    x,
    y,
    valid: tensor('f64', [BATCH, POS], valid),
  });
}

for (const [name, changes] of VARIANTS) {
  test(`${name}: loss, sums and every gradient of the graph equal the twin's`, () => {
    const given = makeCase(changes);
    const expected = reference(given);
    const outputs = runGraph(given, Number.POSITIVE_INFINITY);
    near(outputs['loss']!.data as Float64Array, [expected.loss], 'loss');
    near(outputs['total']!.data as Float64Array, expected.sums.total, 'total');
    const sums = ['tokens', 'error_sum', 'square_sum', 'active_sum'].map((n) =>
      Number(outputs[n]!.data[0]),
    );
    const { tokens, error, square, active } = expected.sums;
    near(sums, [tokens, error, square, active], 'sums');
    near(outputs['fired']!.data as Float64Array, expected.fired, 'fired');
    let squares = 0;
    for (const parameter of parameterNames(given.config)) {
      const gradient = expected.gradient(parameter);
      near(outputs[`gradient.${parameter}`]!.data as Float64Array, gradient, parameter);
      squares += gradient.reduce((a, g) => a + g * g, 0);
    }
    near(outputs['gradient_norm']!.data as Float64Array, [Math.sqrt(squares)], 'norm');
    assert.ok(figures(expected.sums).l0 > 1, 'the example is alive');
  });
}

for (const [name, changes] of VARIANTS) {
  test(`${name}: with AuxK, losses and every gradient of the graph equal the twin's`, () => {
    const given = makeCase(changes);
    const expected = reference(given, AUXILIARY);
    const outputs = runGraph(given, Number.POSITIVE_INFINITY, AUXILIARY);
    assert.ok(expected.auxiliaryLoss > 0.1);
    near(outputs['loss']!.data as Float64Array, [expected.loss], 'loss');
    near(outputs['auxiliary_loss']!.data as Float64Array, [expected.auxiliaryLoss], 'AuxK');
    for (const parameter of parameterNames(given.config)) {
      const gradient = expected.gradient(parameter);
      near(outputs[`gradient.${parameter}`]!.data as Float64Array, gradient, parameter);
    }
  });
}

test('a head that fires is no longer silent; the others grow by the valid tokens, up to 2^24', () => {
  const given = makeCase({});
  const { fired } = reference(given, AUXILIARY);
  const outputs = runGraph(given, 1, AUXILIARY);
  const expected = AUXILIARY.dead.map((d, i) => (fired[i]! > 0 ? 0 : 99.5 + d + 6));
  near(outputs['next.silent_tokens']!.data as Float64Array, expected, 'silent');
  assert.ok(expected.includes(0));
});

test('the step moves parameters and moments as Adam says, with the gradient clipped to the norm', () => {
  const given = makeCase({});
  const expected = reference(given);
  const norm = Number(runGraph(given, 1e30)['gradient_norm']!.data[0]);
  for (const clip of [Number.POSITIVE_INFINITY, norm / 3]) {
    const outputs = runGraph(given, clip);
    const factor = Math.min(1, Math.fround(Math.min(clip, 1e30)) / (norm + 1e-6));
    for (const name of parameterNames(given.config)) {
      const feeds = stateFeeds(name);
      const state = {
        p: given.weights[name]!.data.slice(),
        m: given.moments[feeds.m]!.data.slice(),
        v: given.moments[feeds.v]!.data.slice(),
      };
      const gradient = expected.gradient(name).map((g) => g * factor);
      adamStep(ADAM_DEFAULTS, state, gradient, { rate: 0.01, step: 3 });
      near(outputs[nextName(feeds.m)]!.data as Float64Array, state.m, feeds.m);
      near(outputs[nextName(feeds.v)]!.data as Float64Array, state.v, feeds.v);
      near(outputs[nextName(feeds.p)]!.data as Float64Array, state.p, feeds.p);
    }
  }
});

test('K is a feed: the same graph with a smaller K has fewer active heads', () => {
  const given = makeCase({});
  const active = (topK: number) =>
    Number(runGraph({ ...given, config: { ...given.config, topK } }, 1)['active_sum']!.data[0]);
  assert.ok(active(1) < active(3));
  assert.ok(active(1) <= 6);
});
