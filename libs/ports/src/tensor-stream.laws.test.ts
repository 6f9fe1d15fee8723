import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rng } from '@heddle/core';
import { type DType, elementCount, tensor, toBytes, zeros } from '@heddle/tensor';
import type { TensorHeader } from './proto/gen/common.ts';
import {
  CHUNK_BYTES,
  fromInline,
  TensorCollector,
  tensorParts,
  toInline,
} from './tensor-stream.ts';

const DTYPES: readonly DType[] = ['f32', 'f16', 'f64', 'i64', 'i32', 'u8', 'bool'];

test('tensors of any dtype and shape come back bit for bit from their parts', () => {
  const rng = new Rng(7);
  const collector = new TensorCollector(2 ** 30);
  for (let round = 0; round < 200; round++) {
    const dtype = DTYPES[round % DTYPES.length] ?? 'f32';
    const shape = Array.from({ length: rng.below(4) }, () => rng.below(60));
    const sent = zeros(dtype, shape);
    toBytes(sent).forEach((_, i, bytes) => {
      bytes[i] = rng.below(256);
    });
    const parts = [...tensorParts(sent, { name: 't', prompt: round })];
    assert.ok(parts.every(({ chunk }) => (chunk?.data.byteLength ?? 0) <= CHUNK_BYTES));
    const [done, ...more] = parts.map((part) => collector.add(part)).filter((t) => t !== undefined);
    assert.deepEqual(more, []);
    assert.deepEqual(done?.tensor.shape, shape);
    assert.deepEqual(toBytes(done?.tensor ?? sent), toBytes(sent));
    assert.deepEqual(toBytes(fromInline(toInline(sent), 'value')), toBytes(sent));
  }
  collector.end();
});

const HEADER: TensorHeader = {
  name: 't',
  prompt: 0,
  dtype: 'ELEMENT_TYPE_F32',
  shape: [2],
  axes: [],
  byte_length: 8,
};

test('a header whose numbers disagree is refused before anything is allocated', () => {
  const wrong: readonly (readonly [Partial<TensorHeader>, string])[] = [
    [{ byte_length: 9 }, 'invalid_argument'],
    [{ byte_length: 2 ** 50 }, 'invalid_argument'],
    [{ shape: [2 ** 40], byte_length: 2 ** 42 }, 'resource_exhausted'],
    [{ shape: [1, 1, 1, 1, 1, 1, 1, 1, 2] }, 'invalid_argument'],
    [{ axes: ['pos', 'd_model'] }, 'invalid_argument'],
    [{ dtype: 'ELEMENT_TYPE_UNSPECIFIED' }, 'invalid_argument'],
  ];
  for (const [change, code] of wrong) {
    const collector = new TensorCollector(1000);
    assert.throws(() => collector.add({ header: { ...HEADER, ...change } }), { code });
  }
});

test('the bound counts all tensors of a stream together', () => {
  const collector = new TensorCollector(20);
  const parts = [...tensorParts(tensor('f32', [2], Float32Array.of(1, 2)), { name: 't' })];
  for (const part of [...parts, ...parts]) collector.add(part);
  assert.throws(() => parts.map((part) => collector.add(part)), { code: 'resource_exhausted' });
});

test('chunks that are missing, repeated, too long or without a header are data_loss', () => {
  const data = new Uint8Array(4);
  const chunks = [
    [{ offset: 4, data }],
    [
      { offset: 0, data },
      { offset: 0, data },
    ],
    [{ offset: 0, data: new Uint8Array(12) }],
  ];
  for (const list of chunks) {
    const collector = new TensorCollector(1000);
    collector.add({ header: HEADER });
    const send = () => list.map((chunk) => collector.add({ chunk }));
    assert.throws(send, { code: 'data_loss' });
  }
  assert.throws(() => new TensorCollector(9).add({ chunk: { offset: 0, data } }), {
    code: 'data_loss',
  });
  const cut = new TensorCollector(1000);
  cut.add({ header: HEADER });
  assert.throws(() => cut.end(), { code: 'data_loss' });
  assert.equal(elementCount(HEADER.shape), 2);
});
