import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { GraphBuilder, interpret } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { lorsaForward } from './forward.reference.ts';
import { layerInputs, lorsaGraph, parameterInputs, rotaryFeeds } from './forward-graph.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, parameterNames } from './lorsa-weights.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

const VARIANTS: readonly (readonly [string, Partial<LorsaConfig>])[] = [
  ['plain', {}],
  ['signed, no decoder norm in the gate', { signed: true, decoderNormInGate: false }],
  ['half-split partial rotary', { rotary: { dim: 2, base: 100, layout: 'half' } }],
  [
    'adjacent scaled rotary and query-key norm, no decoder bias',
    {
      rotary: {
        dim: 4,
        base: 100,
        layout: 'adjacent',
        scaling: { factor: 8, lowFreqFactor: 1, highFreqFactor: 4, oldContextLength: 8 },
      },
      qkNormEps: 1e-6,
      useDecoderBias: false,
    },
  ],
  ['one pattern per head', { n_qk_heads: 8 }],
];

/** Parameters as feeds; the values are fp32 numbers, so that twin and graph start from the same ones. */
function parameterFeeds(config: LorsaConfig, weights: LorsaWeights): Record<string, Tensor> {
  return Object.fromEntries(parameterNames(config).map((name) => [name, weights[name]!]));
}

function near(actual: Tensor, expected: ArrayLike<number>, offset: number, what: string) {
  for (let at = 0; at < expected.length; at++) {
    const [a, e] = [Number(actual.data[offset + at]), expected[at]!];
    assert.ok(Math.abs(a - e) <= 1e-10 * Math.max(1, Math.abs(e)), `${what}[${at}]: ${a}, ${e}`);
  }
}

for (const [name, changes] of VARIANTS) {
  test(`${name}: the graph in fp64 equals the twin at every value`, () => {
    const config = tinyLorsaConfig(changes);
    const rng = new Rng(41);
    const weights = randomLorsa(config, rng);
    if (!config.useDecoderBias) weights.b_D.data.fill(0);
    const x = randomRows(rng, 3, 7, config.d_model);

    const g = new GraphBuilder();
    const parameters = parameterInputs(g, config);
    const built = lorsaGraph(g, config, parameters, layerInputs(g, config));
    for (const [value, what] of Object.entries(built)) g.output(`out.${value}`, what);
    const outputs = interpret(g.build(), {
      ...parameterFeeds(config, weights),
      ...rotaryFeeds(config, 7),
      x,
      k: tensor('i64', [1], BigInt64Array.of(BigInt(config.topK))),
    });

    for (let b = 0; b < 3; b++) {
      const rows = tensor('f64', [7, 6], x.data.slice(b * 42, b * 42 + 42));
      const twin = lorsaForward(config, weights, rows);
      const compare = (what: string, expected: Float64Array) =>
        near(outputs[`out.${what}`]!, expected, b * expected.length, what);
      compare('pattern', twin.pattern.data);
      compare('preActivations', twin.preActivations.data);
      compare('featureActs', twin.featureActs.data);
      compare('reconstruction', twin.reconstruction.data);
      compare(
        'active',
        twin.featureActs.data.map((z) => (z === 0 ? 0 : 1)),
      );
    }
  });
}
