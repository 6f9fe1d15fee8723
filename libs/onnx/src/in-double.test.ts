import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeModel, encodeModel } from './encode-model.ts';
import type { Graph } from './graph.ts';
import { GraphBuilder } from './graph-builder.ts';
import { inDouble } from './in-double.ts';

/** x W + 1/3 with a transpose, a cast and a filled tensor in it: each kind of thing that has a type. */
function example() {
  const g = new GraphBuilder('example');
  const x = g.input('x', 'f32', ['pos', 2]);
  const W = g.input('W', 'f32', [3, 2]);
  const seen = g.trilu(g.cast(g.constantOfShape(['pos', 'pos'], 1), 'bool'));
  const y = g.add(g.matMul(g.cast(seen, 'f32'), g.matMul(x, g.transpose(W, [1, 0]))), 1 / 3);
  g.output('y', y);
  return g.build();
}

test('a graph in double is the same graph: inputs named single stay so and are widened inside', () => {
  const doubled = inDouble(example(), ['W']);
  const types = doubled.inputs.map(({ name, dtype }) => [name, dtype]);
  assert.deepEqual(types, [
    ['x', 'f64'],
    ['W', 'f32'],
  ]);
  const ops = (graph: Graph) => graph.nodes.map(({ op }) => op);
  assert.deepEqual(ops(doubled), ['Cast', ...ops(example())]);
  assert.deepEqual(doubled.nodes[0]?.inputs, ['W']);
  const readers = doubled.nodes.slice(1).filter(({ inputs }) => inputs.includes('W'));
  assert.deepEqual(readers, [], 'everything reads the widened one');
  assert.deepEqual([...doubled.values.values()].filter(({ dtype }) => dtype === 'f32').length, 1);
});

test('nothing of type float is left in the encoded graph but what is fed so', () => {
  const model = decodeModel(encodeModel(inDouble(example(), ['W'])));
  const text = JSON.stringify(model, (key, value) => (key === 'raw_data' ? undefined : value));
  const FLOAT = 1;
  const inputs = [...text.matchAll(/"elem_type":(\d+)/g)].map(([, type]) => Number(type));
  assert.equal(inputs.filter((type) => type === FLOAT).length, 1, 'W');
  const tensors = [...text.matchAll(/"data_type":(\d+)/g)].map(([, type]) => Number(type));
  assert.ok(tensors.length > 0 && !tensors.includes(FLOAT), text);
});
