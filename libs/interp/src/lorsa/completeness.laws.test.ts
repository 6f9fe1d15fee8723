import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { GraphBuilder, interpret, vjp } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { lorsaForward } from './forward.reference.ts';
import { qkHeadOf } from './lorsa-config.ts';
import { randomLorsa, randomRows, tinyLorsaConfig } from './tiny-lorsa.ts';

const POS = 5;
const D_MODEL = 6;

/** Root mean square of every row, the scale that a frozen RMS norm divides by. */
const scales = (rows: Tensor<'f64'>) =>
  Float64Array.from({ length: POS }, (_, t) =>
    Math.sqrt(
      rows.data.subarray(t * D_MODEL, (t + 1) * D_MODEL).reduce((s, v) => s + v * v, 0) / 6,
    ),
  );

const divided = (rows: Tensor<'f64'>, by: Float64Array): Tensor<'f64'> => ({
  ...rows,
  data: rows.data.map((v, at) => v / by[Math.floor(at / D_MODEL)]!),
});

/**
 * Two layers of a replacement model: a Lorsa layer and its error node write to the residual stream, a unit of a second
 * Lorsa layer reads it. Frozen: both norms' scales, both layers' patterns, and the features' values.
 */
test('incoming edges of a unit (embeddings, features, error, biases) sum to its pre-activation', () => {
  const config = tinyLorsaConfig({ rotary: { dim: 4, base: 100, layout: 'half' } });
  const rng = new Rng(81);
  const [first, second] = [randomLorsa(config, rng), randomLorsa(config, rng)];
  const embeddings = randomRows(rng, POS, D_MODEL);
  const attentionOut = randomRows(rng, POS, D_MODEL); // what the host's layer really writes
  const one = lorsaForward(config, first, divided(embeddings, scales(embeddings)));
  const resid: Tensor<'f64'> = {
    ...embeddings,
    data: embeddings.data.map((v, at) => v + attentionOut.data[at]!),
  };
  const scale = scales(resid);
  const two = lorsaForward(config, second, divided(resid, scale));

  const [unit, query] = [5, 4];
  const head = qkHeadOf(config, unit);
  const edges = gradientOfUnit({ pattern: two.pattern, scale, second, head, unit, query });

  const along = (write: (t: number, d: number) => number) => {
    let sum = 0;
    for (let t = 0; t < POS; t++)
      for (let d = 0; d < D_MODEL; d++) sum += edges[t * 6 + d]! * write(t, d);
    return sum;
  };
  const features = config.n_ov_heads;
  const sources = [
    along((t, d) => embeddings.data[t * 6 + d]!),
    ...Array.from({ length: features }, (_, i) =>
      along((t, d) => one.featureActs.data[t * features + i]! * first.W_O.data[i * 6 + d]!),
    ),
    along((t, d) => attentionOut.data[t * 6 + d]! - one.reconstruction.data[t * 6 + d]!), // error node
    along((_, d) => first.b_D.data[d]!),
    second.b_V.data[unit]!, // rows of A sum to 1
  ];
  const sum = sources.reduce((a, b) => a + b, 0);
  const target = two.preActivations.data[query * features + unit]!;
  assert.ok(Math.abs(sum - target) < 1e-12, `${sum}, ${target}`);
  assert.ok(sources.filter((edge) => Math.abs(edge) > 1e-3).length > 6, 'the example is alive');
});

/** d z̃ / d resid with pattern and scale as constants, by autodiff, `[pos, d_model]`. */
function gradientOfUnit(of: {
  pattern: Tensor<'f64'>;
  scale: Float64Array;
  second: ReturnType<typeof randomLorsa>;
  head: number;
  unit: number;
  query: number;
}): Float64Array {
  const g = new GraphBuilder('unit');
  const resid = g.input('resid', 'f32', [POS, D_MODEL]);
  const A = g.input('A', 'f32', [1, POS]);
  const read = g.input('w_v', 'f32', [D_MODEL, 1]);
  const normed = g.div(resid, g.input('scale', 'f32', [POS, 1]));
  const pre = g.matMul(A, g.matMul(normed, read));
  const [gradient] = vjp(g, [pre], [g.constantOfShape([1, 1], 1)], [resid]);
  g.output('gradient', gradient!);
  const row = (of.head * POS + of.query) * POS;
  const { gradient: found } = interpret(g.build(), {
    A: tensor('f64', [1, POS], of.pattern.data.slice(row, row + POS)),
    w_v: tensor(
      'f64',
      [D_MODEL, 1],
      of.second.W_V.data.slice(of.unit * 6, of.unit * 6 + 6) as Float64Array,
    ),
    scale: tensor('f64', [POS, 1], of.scale),
    resid: tensor('f64', [POS, D_MODEL], new Float64Array(POS * D_MODEL)),
  });
  return found!.data as Float64Array;
}
