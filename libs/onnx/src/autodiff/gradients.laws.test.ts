import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import type { Value } from '../graph.ts';
import { GraphBuilder } from '../graph-builder.ts';
import { interpret } from '../interpret/interpret.ts';
import { vjp } from './gradients.ts';

const rng = new Rng(3);
const normal = (...shape: number[]): Tensor =>
  tensor(
    'f64',
    shape,
    Float64Array.from({ length: elementCount(shape) }, () => rng.normal()),
  );

const SHAPES = { W_Q: [6, 6], W_K: [6, 6], W_V: [6, 6], scale: [6], W_in: [6, 8], W_out: [8, 6] };
const RESID = ['batch', 'pos', 6] as const;

/** A block as models have them: causal attention and a gated MLP on the residual stream. */
function block(g: GraphBuilder, x: Value, layer: number): { resid: Value; weights: Value[] } {
  const weights = Object.entries(SHAPES).map(([name, shape]) =>
    g.input(`${name}.${layer}`, 'f32', shape),
  );
  const [W_Q, W_K, W_V, scale, W_in, W_out] = weights;
  const n = g.rmsNormalization(x, scale, { epsilon: 1e-5 });
  const heads = (W: Value) =>
    g.transpose(g.reshape(g.linear(n, W), ['batch', 'pos', 2, 3]), [0, 2, 1, 3]);
  const scores = g.einsum('bhqd,bhkd->bhqk', heads(W_Q), heads(W_K));
  const allowed = g.trilu(g.cast(g.constantOfShape(['pos', 'pos'], 1), 'bool'));
  const pattern = g.softmax(g.where(allowed, scores, Number.NEGATIVE_INFINITY));
  const z = g.transpose(g.matMul(pattern, heads(W_V)), [0, 2, 1, 3]);
  const mid = g.add(x, g.reshape(z, RESID));
  return { resid: g.add(mid, g.linear(g.silu(g.linear(mid, W_in)), W_out)), weights };
}

const feedsOf = (layer: number): Record<string, Tensor> =>
  Object.fromEntries(
    Object.entries(SHAPES).map(([name, shape]) => [`${name}.${layer}`, normal(...shape)]),
  );

/** One block, or two in one graph: resid in, resid out, and the gradients of ⟨out, cotangent⟩ by resid and weights. */
function segment(layers: readonly number[]) {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', RESID);
  const cotangent = g.input('cotangent', 'f32', RESID);
  let resid = x;
  const weights: Value[] = [];
  for (const layer of layers) {
    const built = block(g, resid, layer);
    resid = built.resid;
    weights.push(...built.weights);
  }
  vjp(g, [resid], [cotangent], [x, ...weights]).forEach((gradient, i) => {
    g.output(i === 0 ? 'd.x' : `d.${weights[i - 1].name}`, gradient);
  });
  g.output('resid', resid);
  return g.build();
}

const numbers = ({ data }: Tensor): readonly number[] =>
  Array.from(data as ArrayLike<number>, Number);

const largestDifference = (a: Tensor, b: Tensor): number => {
  const expected = numbers(b);
  return Math.max(...numbers(a).map((value, i) => Math.abs(value - expected[i])));
};

/** ⟨a, b⟩ */
const inner = (a: Tensor, b: Tensor): number => {
  const other = numbers(b);
  return numbers(a).reduce((sum, value, i) => sum + value * other[i], 0);
};

test('gradients passed from segment to segment equal those of the whole graph', () => {
  const feeds = [feedsOf(0), feedsOf(1)];
  const [x, cotangent] = [normal(2, 5, 6), normal(2, 5, 6)];
  const whole = interpret(segment([0, 1]), { x, cotangent, ...feeds[0], ...feeds[1] });

  const middle = interpret(segment([0]), { x, cotangent, ...feeds[0] })['resid'];
  const second = interpret(segment([1]), { x: middle, cotangent, ...feeds[1] });
  const first = interpret(segment([0]), { x, cotangent: second['d.x'], ...feeds[0] });

  const parts: Record<string, Tensor> = { ...second, ...first, resid: second['resid'] };
  for (const [name, expected] of Object.entries(whole)) {
    const error = largestDifference(parts[name], expected);
    assert.ok(error <= 1e-12, `${name}: ${error}`);
  }
});

test('a gradient through a block foretells the change of its output to first order', () => {
  const feeds = feedsOf(0);
  const [x, direction, cotangent] = [normal(2, 4, 6), normal(2, 4, 6), normal(2, 4, 6)];
  const graph = segment([0]);
  const along = (step: number) => {
    const steps = numbers(direction);
    const moved = Float64Array.from(numbers(x), (n, i) => n + step * steps[i]);
    const { resid } = interpret(graph, { x: tensor('f64', x.shape, moved), cotangent, ...feeds });
    return inner(resid, cotangent);
  };

  const gradient = interpret(graph, { x, cotangent, ...feeds })['d.x'];
  const foretold = inner(gradient, direction);
  const measured = (along(1e-5) - along(-1e-5)) / 2e-5;
  assert.ok(Math.abs(foretold - measured) <= 1e-6 * Math.abs(measured), `${foretold} ${measured}`);
});

test('a gradient is linear in its cotangent', () => {
  const feeds = { x: normal(1, 4, 6), ...feedsOf(0) };
  const [a, b] = [normal(1, 4, 6), normal(1, 4, 6)];
  const other = numbers(b);
  const combined = Float64Array.from(numbers(a), (n, i) => 2 * n - 3 * other[i]);
  const graph = segment([0]);
  const of = (cotangent: Tensor) => numbers(interpret(graph, { ...feeds, cotangent })['d.W_K.0']);

  const whole = of(tensor('f64', a.shape, combined));
  const [first, second] = [of(a), of(b)];
  whole.forEach((value, i) => {
    assert.ok(Math.abs(value - (2 * first[i] - 3 * second[i])) < 1e-10);
  });
});
