import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import protobuf from 'protobufjs';
import { decodeModel, encodeModel } from './encode-model.ts';
import { ONNX_DESCRIPTOR } from './gen/onnx-descriptor.ts';
import { GraphBuilder } from './graph-builder.ts';

test('symbolic sizes pass through products, reshapes and concatenations', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['batch', 'pos', 12]);
  const heads = g.reshape(x, ['batch', 'pos', 3, 4]);
  const scores = g.einsum('bqhd,bkhd->bhqk', heads, heads);
  const flat = g.reshape(scores, [-1, 'pos']);
  const longer = g.concat([x, g.constantOfShape(['batch', 1, 12], 0)], { axis: 1 });

  assert.deepEqual(scores.shape, ['batch', 3, 'pos', 'pos']);
  assert.deepEqual(flat.shape, ['3*batch*pos', 'pos']);
  assert.deepEqual(longer.shape, ['batch', 'pos+1', 12]);
  assert.deepEqual(g.slice(longer, { axis: 1, start: 1 }).shape, ['batch', 'pos', 12]);
  assert.deepEqual(g.slice(longer, { axis: 1, start: -1 }).shape, ['batch', 1, 12]);
});

test('a shape mismatch is thrown where it is written, with scope, op and shapes', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['batch', 'pos', 12]);
  const W = g.input('W', 'f32', [13, 5]);

  assert.throws(() => g.scope('blocks.0', () => g.scope('attn', () => g.matMul(x, W))), {
    name: 'ShapeError',
    message:
      'blocks.0.attn: MatMul(f32 [batch, pos, 12], f32 [13, 5]): inner sizes 12 and 13 differ',
  });
});

test('equal symbols broadcast, different ones are refused', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['batch', 'pos']);
  const y = g.input('y', 'f32', ['batch', 'key_pos']);

  assert.deepEqual(g.add(x, x).shape, ['batch', 'pos']);
  assert.throws(() => g.add(x, y), { name: 'ShapeError' });
});

test('an output renames its value; an Identity appears only where a rename is impossible', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['pos']);
  const y = g.output('y', g.neg(x));
  g.output('again', y);
  g.output('x_out', x);
  const { nodes, outputs } = g.build();

  assert.deepEqual(
    nodes.map(({ op }) => op),
    ['Neg', 'Identity', 'Identity'],
  );
  assert.deepEqual(
    outputs.map(({ name }) => name),
    ['y', 'again', 'x_out'],
  );
});

test('what no output needs is not in the graph', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['pos']);
  const unused = g.weight('unused', 'f32', [4], { file: 'w', offset: 0, length: 16 });
  g.exp(g.mul(unused, 3));
  g.output('y', g.neg(x));
  const { nodes, weights, constants } = g.build();

  assert.deepEqual([nodes.length, weights.length, constants.length], [1, 0, 0]);
});

test('a constant stays a double in the graph and is rounded when encoded', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['pos']);
  g.output('y', g.add(x, 1e-5));
  const graph = g.build();

  assert.equal(graph.constants[0].data[0], 1e-5);
  const { graph: encoded } = decodeModel(encodeModel(graph)) as {
    graph: { initializer: { raw_data: Uint8Array }[] };
  };
  const [bytes] = encoded.initializer.map(({ raw_data }) => raw_data);
  assert.equal(Buffer.from(bytes).readFloatLE(0), Math.fround(1e-5));
});

test('the committed descriptor is proto/onnx/onnx.proto (else: node proto/onnx/make-descriptor.ts)', () => {
  const proto = new URL('../../../proto/onnx/onnx.proto', import.meta.url);
  const { root } = protobuf.parse(readFileSync(proto, 'utf8'), { keepCase: true });

  assert.deepEqual(ONNX_DESCRIPTOR, JSON.parse(JSON.stringify(root.toJSON())));
});
