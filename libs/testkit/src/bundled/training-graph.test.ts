import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { encodeModel, GraphBuilder, gradients, interpret } from '@heddle/onnx';
import { type Tensor, tensor } from '@heddle/tensor';
import { flatParametersInput } from './gpt2-graph.ts';
import { buildLoss } from './loss-graph.ts';
import { initialParameters } from './parameters.ts';
import { trainingGraph } from './training-graph.ts';
import { positionsOf, programOf } from './training-step.ts';

const SIZES = { d_vocab: 11, n_ctx: 8, d_model: 8, d_mlp: 16, n_layers: 2, n_heads: 2 };
const SHAPE = [2, 6];

function feeds(rng: Rng): Record<string, Tensor> {
  const ids = () => BigInt64Array.from({ length: 12 }, () => BigInt(rng.below(SIZES.d_vocab)));
  return {
    tokens: tensor('i64', SHAPE, ids()),
    targets: tensor('i64', SHAPE, ids()),
    positions: positionsOf(2, 6),
    weights: tensor(
      'f32',
      SHAPE,
      Float32Array.from({ length: 12 }, () => rng.uniform()),
    ),
  };
}

/** Away from the initialisation, where layer norms and biases do nothing yet. */
function parameters(rng: Rng): Tensor<'f32'> {
  const values = initialParameters(SIZES, 1).map((x) => x + 0.2 * rng.normal());
  return tensor('f32', [values.length], values);
}

test('the gradient of the loss is its slope along random directions, in fp64', () => {
  const rng = new Rng(1);
  const g = new GraphBuilder('loss');
  const flat = flatParametersInput(g, 'parameters', SIZES);
  const { loss } = buildLoss(g, SIZES, flat);
  const [gradient] = gradients(g, loss, [flat]);
  g.output('gradient', gradient!);
  g.output('loss', loss);
  const graph = g.build();
  const given = feeds(rng);
  const at = parameters(rng).data;
  const lossAt = (shift: Float64Array, size: number): number => {
    const data = Float32Array.from(at, (x, i) => x + size * shift[i]!);
    const out = interpret(graph, { ...given, parameters: tensor('f32', [at.length], data) });
    return out['loss']!.data[0] as number;
  };
  const exact = interpret(graph, { ...given, parameters: tensor('f32', [at.length], at) });
  const slopes = exact['gradient']!.data as Float64Array;

  for (let i = 0; i < 3; i++) {
    const direction = Float64Array.from(at, () => rng.normal());
    const size = 2e-3; // feeds are f32: a smaller step drowns in their rounding, a larger one in curvature
    const slope = (lossAt(direction, size) - lossAt(direction, -size)) / (2 * size);
    const expected = direction.reduce((sum, d, n) => sum + d * slopes[n]!, 0);
    assert.ok(Math.abs(slope - expected) < 1e-3 * Math.max(1, Math.abs(expected)), `${slope}`);
  }
});

test('ONNX Runtime takes the step that the interpreter takes', async () => {
  const rng = new Rng(2);
  const graph = trainingGraph(SIZES).build();
  const scalar = (value: number) => tensor('f32', [], Float32Array.of(value));
  const flat = parameters(rng);
  const moment = (size: number) =>
    tensor(
      'f32',
      flat.shape,
      Float32Array.from(flat.data, () => size * (0.5 + rng.uniform())),
    );
  // Every third parameter is frozen.
  const trainable = tensor(
    'f32',
    flat.shape,
    flat.data.map((_, i) => (i % 3 === 0 ? 0 : 1)),
  );
  const given = {
    ...feeds(rng),
    parameters: flat,
    m: moment(1e-2),
    v: moment(1e-3),
    trainable,
    rate: scalar(1e-2),
    beta1: scalar(0.9),
    beta2: scalar(0.99),
    correction1: scalar(0.271),
    correction2: scalar(0.0297),
    epsilon: scalar(1e-8),
    clip: scalar(0.5),
  };
  const keep = ['parameters_next', 'm_next', 'v_next', 'loss', 'gradient_norm'];
  const program = programOf(encodeModel(graph));
  const engine = await OrtEngine.start({ threads: 1 });
  const [outputs] = await engine.run({ steps: [{ program, feeds: given, keep }] });
  await engine.close();

  const expected = interpret(graph, given);
  const next = outputs!['parameters_next']!.data as Float32Array;
  assert.deepEqual(
    next.map((x, i) => (x === flat.data[i] ? 0 : 1)),
    trainable.data,
    'what is frozen stays, and all else moves',
  );
  assert.ok((expected['gradient_norm']!.data[0] as number) > 0.5, 'the clip is at work');
  for (const name of keep) {
    const want = expected[name]!.data as Float64Array;
    const got = outputs![name]!.data as Float32Array;
    assert.equal(got.length, want.length);
    const off = want.reduce((most, x, i) => Math.max(most, Math.abs(x - got[i]!)), 0);
    assert.ok(off < 2e-6, `${name} is off by ${off}`);
  }
});
