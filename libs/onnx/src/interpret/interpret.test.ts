import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tensor } from '@heddle/tensor';
import { GraphBuilder } from '../graph-builder.ts';
import { erf } from './erf.ts';
import { interpret } from './interpret.ts';

test('erf agrees with its tables to 1e-15, on both sides of the switch between its two forms', () => {
  // math.erf of Python 3, which is the C library's.
  const table = [
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.5, 0.999593047982555],
    [3, 0.9999779095030014],
    [4, 0.9999999845827421],
  ] as const;
  for (const [x, expected] of table) {
    assert.ok(Math.abs(erf(x) - expected) <= 1e-15, `erf(${x}) is ${erf(x)}, not ${expected}`);
    assert.equal(erf(-x), -erf(x));
  }
  assert.ok(Math.abs(erf(2.4999999999) - erf(2.5)) < 1e-12);
});

test('attention over a symbolic length gives rows that sum to 1 and nothing above the diagonal', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['batch', 'pos', 4]);
  const scores = g.einsum('bqd,bkd->bqk', x, x);
  const allowed = g.trilu(g.cast(g.constantOfShape(['pos', 'pos'], 1), 'bool'));
  const pattern = g.softmax(g.where(allowed, scores, Number.NEGATIVE_INFINITY));
  g.output('pattern', pattern);
  g.output('rows', g.reduceSum(pattern, { axes: [-1], keepDims: false }));

  const data = Float64Array.from({ length: 24 }, (_, i) => Math.sin(i));
  const { pattern: p, rows } = interpret(g.build(), { x: tensor('f64', [2, 3, 4], data) });

  for (const row of rows.data) assert.ok(Math.abs(Number(row) - 1) < 1e-15);
  assert.deepEqual([p.data[1], p.data[2], p.data[5]], [0, 0, 0]);
});

test('half-precision weights are widened exactly, and constants are not rounded to f32', () => {
  const g = new GraphBuilder();
  const location = { file: 'w', offset: 0, length: 4 };
  g.output('sum', g.add(g.weight('w', 'bf16', [2], location), 1e-5));
  const weights = () => tensor('bf16', [2], Uint16Array.of(0x3f80, 0xc000));

  assert.deepEqual([...interpret(g.build(), {}, { weights }).sum.data], [1 + 1e-5, -2 + 1e-5]);
});

test('a size input is a size by its name', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['pos']);
  g.sizeInput('k');
  const { values, indices } = g.topK(x, 'k');
  g.output('values', values);
  g.output('indices', indices);
  const feeds = {
    x: tensor('f32', [4], Float32Array.of(1, 3, 3, 2)),
    k: tensor('i64', [1], BigInt64Array.of(3n)),
  };
  const out = interpret(g.build(), feeds);

  assert.deepEqual([...out.values.data], [3, 3, 2]);
  assert.deepEqual([...out.indices.data], [1n, 2n, 3n]);
});

test('a feed that does not fit is refused by name', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'f32', ['batch', 4]);
  const y = g.input('y', 'f32', ['batch', 4]);
  g.output('sum', g.add(x, y));
  const graph = g.build();
  const rows = (n: number) => tensor('f32', [n, 4], new Float32Array(n * 4));

  assert.throws(() => interpret(graph, { x: rows(2) }), /feed y: is not fed/);
  assert.throws(() => interpret(graph, { x: rows(2), y: rows(3) }), /feed y: is \[3, 4\]/);
  assert.throws(() => interpret(graph, { x: rows(2), y: rows(2), z: rows(2) }), /feed z/);
});
