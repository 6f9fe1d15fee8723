import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bindAxes } from './bind-axes.ts';
import { narrowF16, widenBf16, widenF16 } from './half.ts';
import { fromBytes, tensor, toBytes, zeros } from './tensor.ts';

test('bindAxes names the tensor, the axis and both sizes when they differ', () => {
  const q = zeros('f32', [5, 2]);
  const k = zeros('f32', [7, 3]);
  assert.throws(
    () => bindAxes({ q: [q, 'query_pos d_head'], k: [k, 'key_pos d_head'] }),
    /k: d_head is 3, but 2 in q/,
  );
  const sizes = bindAxes({ q: [q, 'query_pos d_head'], k: [k, 'key_pos 3'] });
  assert.deepEqual(sizes, { query_pos: 5, d_head: 2, key_pos: 7 });
  assert.throws(() => bindAxes({ q: [q, 'batch query_pos d_head'] }), /has 2 axes/);
});

test('a misspelt axis does not compile', () => {
  // @ts-expect-error 'd_haed' is not an axis
  assert.doesNotThrow(() => bindAxes({ q: [zeros('f32', [1]), 'd_haed'] }));
});

test('bytes survive the way out and back, also from an odd offset', () => {
  const t = tensor('f32', [2, 2], Float32Array.of(1, -2.5, 3e-20, Number.POSITIVE_INFINITY));
  const odd = new Uint8Array(17);
  odd.set(toBytes(t), 1);
  assert.deepEqual(fromBytes('f32', [2, 2], odd.subarray(1)), t);
  assert.deepEqual(fromBytes('f32', [2, 2], Buffer.from(odd.buffer).subarray(1)), t);
  assert.throws(() => fromBytes('f32', [3], odd.subarray(1)), /takes 12 bytes, not 16/);
});

test('every half widens exactly and narrows back to its own bits', () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
  const back = narrowF16(widenF16(all));
  for (let h = 0; h < 65536; h++) {
    const notANumber = (h & 0x7c00) === 0x7c00 && (h & 0x3ff) !== 0;
    if (!notANumber) assert.equal(back[h], h);
    else assert.ok(Number.isNaN(widenF16(Uint16Array.of(h))[0]));
  }
});

test('narrowing rounds to the nearest half, ties to even, as Float16Array of the language does', () => {
  const ties = [
    1 + 2 ** -11,
    1 + 3 * 2 ** -11,
    65519,
    65520,
    2 ** -25,
    3 * 2 ** -25,
    2 ** -24,
    5.9e-8,
  ];
  const values = Float32Array.from([...ties, ...ties.map((x) => -x), 0.1, 1234.567, 1e-5, 6.1e-5]);
  const half = narrowF16(values);
  const expected = [...values].map((x) => Math.f16round(x));
  assert.deepEqual([...widenF16(half)], expected);
});

test('bfloat16 is the upper half of a single', () => {
  assert.deepEqual(
    [...widenBf16(Uint16Array.of(0x3f80, 0xc049, 0x7f80))],
    [1, -3.140625, Infinity],
  );
});
