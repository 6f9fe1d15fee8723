import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';
import type { Graph } from '../graph.ts';
import { GraphBuilder } from '../graph-builder.ts';
import { interpret } from '../interpret/interpret.ts';
import { type BuiltCase, buildCase, isDifferentiable, OP_CASES } from '../op-cases/index.ts';
import { OPS, type OpName } from '../ops/registry.ts';
import { gradients } from './gradients.ts';

/** Truncation is STEP² · f‴/6 ≈ 1e-10 · f‴ and rounding 1e-16/STEP · f ≈ 1e-11 · f; f‴ reaches some hundreds (Reciprocal near 0.2: 6/x⁴ ≈ 4e3). */
const STEP = 1e-5;
const TOLERANCE = 1e-6;
const SEEDS = [1, 2, 3];

type Feeds = Readonly<Record<string, Tensor>>;

/** Σᵢ ⟨outputᵢ, cotangentᵢ⟩ */
function lossOf(graph: Graph, feeds: Feeds, outputs: readonly string[]): number {
  const results = interpret(graph, feeds);
  return outputs.reduce((sum, name) => {
    const cotangent = feeds[`cotangent.${name}`].data as Float64Array;
    const result = results[name].data as Float64Array;
    return result.reduce((total, y, place) => total + y * cotangent[place], sum);
  }, 0);
}

/** Steps of 1e-5 need feeds in fp64. */
function widened(feeds: Feeds): Feeds {
  const wide = (feed: Tensor) =>
    feed.dtype === 'f32' ? tensor('f64', feed.shape, Float64Array.from(feed.data as never)) : feed;
  return Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, wide(feed)]));
}

/** Compares every element of every gradient with a central difference; returns whether any gradient was not 0. */
function checkByDifferences({ graph, feeds, floatOutputs, floatInputs }: BuiltCase): boolean {
  const wide = widened(feeds);
  const found = interpret(graph, wide);
  let moved = false;
  for (const name of floatInputs) {
    const { shape, data } = wide[name] as Tensor<'f64'>;
    const gradient = found[`d.${name}`].data as Float64Array;
    assert.deepEqual(found[`d.${name}`].shape, shape);
    gradient.forEach((value, i) => {
      const at = (offset: number) => {
        const feed = tensor('f64', shape, data.with(i, data[i] + offset));
        return lossOf(graph, { ...wide, [name]: feed }, floatOutputs);
      };
      const expected = (at(STEP) - at(-STEP)) / (2 * STEP);
      assert.ok(
        Math.abs(value - expected) <= TOLERANCE * Math.max(1, Math.abs(expected)),
        `${name}[${i}]: gradient ${value}, central difference ${expected}`,
      );
      moved ||= value !== 0;
    });
  }
  return moved;
}

const passed = new Set<OpName>();
const used = new Set<OpName>(OP_CASES.flatMap((opCase) => buildCase(opCase, SEEDS[0], false).ops));

for (const opCase of OP_CASES) {
  if (!isDifferentiable(buildCase(opCase, SEEDS[0], false))) continue;
  test(`gradient of ${opCase.title} equals central differences`, () => {
    for (const seed of SEEDS) {
      const built = buildCase(opCase, seed, true);
      if (checkByDifferences(built)) for (const op of built.ops) passed.add(op);
    }
  });
}

test('every op has a case, and a gradient that was seen to flow or a written reason for none', () => {
  for (const [op, { gradient }] of Object.entries(OPS) as [OpName, (typeof OPS)[OpName]][]) {
    assert.ok(used.has(op), `no case uses ${op}`);
    if (typeof gradient === 'function') assert.ok(passed.has(op), `no gradient through ${op}`);
    else assert.match(gradient.notDifferentiable, /\w+ \w+/, op);
  }
});

test('a value that the loss does not depend on gets zeros of its shape', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['batch', 3]);
  const y = g.input('y', 'f32', ['batch', 2]);
  const [dx, dy] = gradients(g, g.reduceSum(x, { keepDims: false }), [x, y]);
  g.output('dx', dx);
  g.output('dy', dy);
  const zeros = (n: number) => tensor('f32', [2, n], new Float32Array(2 * n));
  const out = interpret(g.build(), { x: zeros(3), y: zeros(2) });

  assert.deepEqual([...out['dx'].data], [1, 1, 1, 1, 1, 1]);
  assert.deepEqual(
    [out['dy'].shape, [...out['dy'].data]],
    [
      [2, 2],
      [0, 0, 0, 0],
    ],
  );
});

test('a gradient can be differentiated again', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', [3]);
  const [first] = gradients(g, g.reduceSum(g.pow(x, 3), { keepDims: false }), [x]);
  const [second] = gradients(g, g.reduceSum(first, { keepDims: false }), [x]);
  g.output('second', second);
  const feeds = { x: tensor('f64', [3], Float64Array.of(1, 2, -3)) };

  const result = [...interpret(g.build(), feeds)['second'].data].map(Number);
  assert.ok(
    result.every((value, i) => Math.abs(value - [6, 12, -18][i]) < 1e-12),
    `${result}`,
  );
});

test('the gradient of cross-entropy by the logits is softmax minus one-hot', () => {
  const g = new GraphBuilder();
  const rng = new Rng(7);
  const logits = g.input('logits', 'f32', ['token', 5]);
  const targets = g.input('targets', 'i64', ['token', 1]);
  const kept = g.gatherElements(g.logSoftmax(logits), targets, { axis: 1 });
  const [gradient] = gradients(g, g.neg(g.reduceSum(kept, { keepDims: false })), [logits]);
  g.output('found', gradient);
  g.output('expected', g.sub(g.softmax(logits), g.oneHot(g.squeeze(targets, [1]), 5)));
  const out = interpret(g.build(), {
    logits: tensor(
      'f64',
      [4, 5],
      Float64Array.from({ length: 20 }, () => rng.normal()),
    ),
    targets: tensor('i64', [4, 1], BigInt64Array.of(0n, 4n, 2n, 2n)),
  });

  out['found'].data.forEach((value, i) => {
    assert.ok(Math.abs(Number(value) - Number(out['expected'].data[i])) < 1e-15);
  });
});
