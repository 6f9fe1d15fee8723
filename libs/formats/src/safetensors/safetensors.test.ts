import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperationError } from '@heddle/core';
import { tensor } from '@heddle/tensor';
import { HEADER_BYTES_MAX } from '../limits.ts';
import { readSafetensors } from './read-safetensors.ts';
import { writeSafetensors } from './write-safetensors.ts';

function file(header: string | Uint8Array, data: number, stated?: bigint): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const out = new Uint8Array(8 + json.length + data);
  new DataView(out.buffer).setBigUint64(0, stated ?? BigInt(json.length), true);
  out.set(json, 8);
  return out;
}

const info = (dtype: string, shape: string, offsets: string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

function refusal(bytes: Uint8Array): OperationError {
  try {
    readSafetensors('model.safetensors', bytes);
  } catch (error) {
    assert.ok(error instanceof OperationError, String(error));
    assert.equal(error.code, 'invalid_argument');
    assert.match(error.message, /^model\.safetensors: /);
    return error;
  }
  assert.fail('accepted');
}

const A = info('F32', '[2]', '[0,8]');
const REFUSED: Record<string, [Uint8Array, RegExp]> = {
  'an empty file': [new Uint8Array(0), /it has 0 bytes/],
  'seven bytes': [new Uint8Array(7), /it has 7 bytes/],
  'a header longer than the file': [file('{}', 0, 3n), /claims 3 bytes, but only 2 follow/],
  'a header past the cap': [file('{}', 0, 2n ** 63n), new RegExp(`limit is ${HEADER_BYTES_MAX}`)],
  'no header at all': [file('', 0), /does not begin with \{/],
  'a header that begins with a space': [file(' {}', 0), /does not begin with \{/],
  'a list as header': [file('[]', 0), /does not begin with \{/],
  'text after the object': [file('{}x', 0), /text after the end/],
  'bytes that are not UTF-8': [file(Uint8Array.of(0x7b, 0xff, 0x7d), 0), /not UTF-8/],
  'a byte-order mark': [file('\uFEFF{}', 0), /does not begin with \{/],
  'a tensor twice': [file(`{"a":${A},"a":${A}}`, 8), /"a" stands twice/],
  'an escaped name twice': [file(`{"a":${A},"\\u0061":${A}}`, 8), /"a" stands twice/],
  'a field twice': [file(`{"a":{"dtype":"F32","dtype":"F32"}}`, 8), /"dtype" stands twice/],
  'an unknown field': [file(`{"a":{"dtype":"F32","x":1}}`, 8), /unknown field "x"/],
  'an unknown dtype': [file(`{"a":${info('F31', '[2]', '[0,8]')}}`, 8), /unknown dtype "F31"/],
  'a dtype of the prototype': [
    file(`{"a":${info('toString', '[2]', '[0,8]')}}`, 8),
    /unknown dtype/,
  ],
  'a missing shape': [file(`{"a":{"dtype":"F32","data_offsets":[0,8]}}`, 8), /shape is not a list/],
  'a negative axis': [file(`{"a":${info('F32', '[-2]', '[0,8]')}}`, 8), /whole number expected/],
  'a fractional axis': [file(`{"a":${info('F32', '[2.0]', '[0,8]')}}`, 8), /whole number expected/],
  'an exponent': [file(`{"a":${info('F32', '[2e0]', '[0,8]')}}`, 8), /whole number expected/],
  'an axis as text': [file(`{"a":${info('F32', '["2"]', '[0,8]')}}`, 8), /shape is not a list/],
  'an axis past 2^53': [file(`{"a":${info('F32', '[9007199254740993]', '[0,8]')}}`, 8), /2\^53/],
  'a product that overflows': [
    file(`{"a":${info('F32', '[4294967296,4294967296]', '[0,8]')}}`, 8),
    /size of F32 \[4294967296, 4294967296\] overflows/,
  ],
  'half a byte': [file(`{"a":${info('F4', '[3]', '[0,1]')}}`, 1), /overflows/],
  'a span of another size': [
    file(`{"a":${info('F32', '[2]', '[0,4]')}}`, 4),
    /takes 8 bytes, .* 4/,
  ],
  'offsets that run backwards': [file(`{"a":${info('F32', '[0]', '[8,0]')}}`, 8), /begin ≤ end/],
  'three offsets': [file(`{"a":${info('F32', '[2]', '[0,8,8]')}}`, 8), /begin ≤ end/],
  'a hole before the data': [file(`{"a":${info('F32', '[1]', '[4,8]')}}`, 8), /a hole of 4/],
  'a hole between tensors': [
    file(`{"a":${info('F32', '[1]', '[0,4]')},"b":${info('F32', '[1]', '[8,12]')}}`, 12),
    /tensor "b": .* a hole of 4/,
  ],
  'two tensors on the same bytes': [file(`{"a":${A},"b":${A}}`, 8), /tensor "b": .* overlaps 8/],
  'a file that is cut short': [file(`{"a":${A}}`, 7), /cut short/],
  'extra bytes at the end': [file(`{"a":${A}}`, 9), /no tensor owns/],
  'bytes without tensors': [file('{}', 1), /no tensor owns/],
  'metadata that is a number': [file('{"__metadata__":{"a":1}}', 0), /"a" is not a string/],
  'metadata that is a list': [file('{"__metadata__":[]}', 0), /not an object/],
  'a tensor that is a list': [file('{"a":[]}', 0), /description is not an object/],
  'deep nesting': [file(`{"a":${'['.repeat(100_000)}`, 0), /nested deeper/],
  'a string without end': [file('{"a', 0), /a string expected/],
  'a control character in a name': [file('{"a\n":1}', 0), /a string expected/],
  'half a surrogate pair': [file('{"\\ud800":1}', 0), /surrogate/],
  'true as a value': [file('{"a":true}', 0), /whole number expected/],
};

for (const [what, [bytes, words]] of Object.entries(REFUSED)) {
  test(`${what} is refused with the reason`, () => {
    assert.match(refusal(bytes).message, words);
  });
}

test('what is written is read back bit by bit, with metadata, scalars and empty tensors', () => {
  const tensors = {
    'z.weight': tensor('f32', [2, 3], Float32Array.of(1, -0, Number.NaN, Infinity, 1e-45, 3)),
    scalar: tensor('f64', [], Float64Array.of(Math.PI)),
    empty: tensor('f32', [0, 4], new Float32Array(0)),
    half: tensor('bf16', [3], Uint16Array.of(1, 2, 65535)),
    ids: tensor('i64', [2], BigInt64Array.of(-1n, 2n ** 62n)),
    flags: tensor('bool', [3], Uint8Array.of(0, 1, 1)),
    __proto__x: tensor('i32', [1], Int32Array.of(-7)),
  };

  const bytes = writeSafetensors(tensors, { 'made by': 'a test: "ü"' });
  const read = readSafetensors('x.safetensors', bytes);

  assert.equal(read.header.metadata.get('made by'), 'a test: "ü"');
  assert.deepEqual([...read.names()].sort(), Object.keys(tensors).sort());
  for (const [name, t] of Object.entries(tensors)) assert.deepEqual(read.tensor(name), t);
});

test('every written tensor is aligned to its element, and equal contents give equal bytes', () => {
  const a = tensor('u8', [3], Uint8Array.of(1, 2, 3));
  const b = tensor('f64', [1], Float64Array.of(1));

  const one = writeSafetensors({ a, b });
  const two = writeSafetensors({ b, a });

  assert.deepEqual(one, two);
  const { header } = readSafetensors('x', one);
  assert.equal(header.dataOffset % 8, 0);
  assert.equal(header.tensors.get('b')?.offset, header.dataOffset);
});

test('a tensor called like a property of objects is just a tensor', () => {
  const bytes = file(`{"__proto__":${A},"constructor":${info('F32', '[1]', '[8,12]')}}`, 12);

  assert.deepEqual(readSafetensors('x', bytes).names(), ['__proto__', 'constructor']);
});

test('a dtype that we cannot compute with is listed but not read', () => {
  const read = readSafetensors('x', file(`{"a":${info('I8', '[2]', '[0,2]')}}`, 2));

  assert.equal(read.header.tensors.get('a')?.dtype, 'I8');
  assert.throws(() => read.tensor('a'), /x: tensor "a" has dtype I8; F32/);
});
