import type { Rng } from '@heddle/core';
import { treeOf } from './json-tree.ts';
import { flipBits } from './mutate-bytes.ts';
import { hostileValue, mutateTree, short } from './mutate-json.ts';
import {
  type LooseFile,
  type LooseTensor,
  putTogether,
  setField,
  takeApart,
  tensorsOf,
} from './safetensors-file.ts';

type Change = (rng: Rng, file: LooseFile) => readonly [Uint8Array, string];

/** A safetensors file with one well-aimed wound; most leave the header readable. */
export function mutateSafetensors(rng: Rng, bytes: Uint8Array): readonly [Uint8Array, string] {
  return rng.pick(CHANGES)(rng, takeApart(bytes));
}

const aTensor = (rng: Rng, file: LooseFile): LooseTensor => rng.pick(tensorsOf(file));

const headerTree: Change = (rng, file) => {
  const what = mutateTree(rng, file.header);
  return [putTogether(file), `header: ${what}`];
};

const offsets: Change = (rng, file) => {
  const { name, info, begin, end } = aTensor(rng, file);
  const shift = rng.pick([-8, -4, -1, 1, 4, 8, 4096, 2 ** 31, 2 ** 53]);
  const moved = rng.pick([
    [begin + shift, end + shift],
    [begin, end + shift],
    [begin + shift, end],
    [end, begin],
    [0, end - begin],
  ]);
  setField(info, 'data_offsets', moved);
  return [putTogether(file), `${name}: data_offsets [${moved}]`];
};

const shape: Change = (rng, file) => {
  const { name, info, shape: sizes } = aTensor(rng, file);
  const count = sizes.reduce((product, n) => product * n, 1);
  const changed = rng.pick([
    sizes.toReversed(),
    [count],
    [1, ...sizes],
    [...sizes, 1],
    [],
    [0],
    [2 ** 32, 2 ** 32],
    [-1, ...sizes],
    sizes.map((n) => n + 1),
    new Array<number>(70).fill(1),
  ]);
  setField(info, 'shape', changed);
  return [putTogether(file), `${name}: shape [${changed}]`];
};

const dtype: Change = (rng, file) => {
  const { name, info, dtype: stored } = aTensor(rng, file);
  // Of the same width: the span still fits, and the values become wild.
  const alike = { F32: ['I32', 'U32'], F16: ['BF16', 'I16'], BF16: ['F16', 'U16'] }[stored] ?? [];
  const other = rng.pick([...alike, ...alike, 'F64', 'F8_E4M3', 'bf16', 'BOOL', '', 'toString']);
  setField(info, 'dtype', other);
  return [putTogether(file), `${name}: dtype ${other} for ${stored}`];
};

/** Two tensors exchange their names: the same bytes, another model, or one whose shapes do not fit. */
const names: Change = (rng, file) => {
  const [a, b] = [aTensor(rng, file), aTensor(rng, file)];
  if (file.header.kind === 'object') {
    for (const pair of file.header.entries) {
      if (pair[0] === a.name) pair[0] = b.name;
      else if (pair[0] === b.name) pair[0] = a.name;
    }
  }
  return [putTogether(file), `${a.name} and ${b.name} exchange names`];
};

const length: Change = (rng, file) => {
  const truth = BigInt(putTogether(file).length - 8 - file.data.length);
  const stated = rng.pick([
    0n,
    1n,
    truth - 1n,
    truth + 1n,
    truth + BigInt(file.data.length) + 1n,
    100_000_001n,
    1n << 31n,
    1n << 53n,
    (1n << 64n) - 1n,
  ]);
  return [putTogether(file, { stated }), `length field ${stated} for ${truth}`];
};

const extras: Change = (rng, file) => {
  if (file.header.kind !== 'object') return [putTogether(file), 'nothing'];
  const end = file.data.length;
  const extra = rng.pick([
    { dtype: 'F32', shape: [0, 3], data_offsets: [end, end] },
    { dtype: 'F32', shape: [1], data_offsets: [end, end + 4] },
    { dtype: 'F4', shape: [2], data_offsets: [end, end + 1] },
  ]);
  const more = new Uint8Array((extra.data_offsets[1] as number) - end);
  const data = new Uint8Array(end + more.length);
  data.set(file.data);
  file.header.entries.push([rng.pick(['extra', '__proto__', 'lm_head.weight', '']), treeOf(extra)]);
  const pad = rng.below(64);
  return [putTogether({ header: file.header, data }, { pad }), 'one more tensor, a padded header'];
};

const metadata: Change = (rng, file) => {
  if (file.header.kind !== 'object') return [putTogether(file), 'nothing'];
  const value = hostileValue(rng);
  file.header.entries.unshift(['__metadata__', value]);
  return [putTogether(file), `__metadata__ ${short(value.kind === 'raw' ? value.text : '…')}`];
};

const dataBits: Change = (rng, file) => {
  const [data, what] = flipBits(rng, file.data, 0, file.data.length);
  return [putTogether({ ...file, data }), `data: ${what}`];
};

/** Bit patterns of one element by width: NaNs, infinities, the largest, the smallest, minus zero, and plainly wrong sizes. */
const PATTERNS: Readonly<Record<number, readonly number[]>> = {
  4: [
    0x7fc00000, 0xffc00001, 0x7f800001, 0x7f800000, 0xff800000, 0x7f7fffff, 0x00000001, 0x80000000,
    0x60ad78ec /* 1e20 */, 0x4cbebc20 /* 1e8 */, 0x447a0000 /* 1000 */,
  ],
  2: [0x7e00, 0x7fc0, 0x7c00, 0x7f80, 0xff80, 0x7bff, 0x7f7f, 0x0001, 0x8000, 0x447a, 0x60ad],
};

const elements: Change = (rng, file) => {
  const { name, dtype: stored, begin, end } = aTensor(rng, file);
  const width = stored === 'F32' ? 4 : 2;
  const pattern = rng.pick(PATTERNS[width] as readonly number[]);
  const data = file.data.slice();
  const view = new DataView(data.buffer);
  const all = rng.below(6) === 0;
  const chosen = begin + width * rng.below((end - begin) / width);
  for (let at = all ? begin : chosen; at < (all ? end : chosen + 1); at += width) {
    if (width === 4) view.setUint32(at, pattern, true);
    else view.setUint16(at, pattern, true);
  }
  const where = all ? 'everywhere' : `at byte ${chosen - begin}`;
  return [putTogether({ ...file, data }), `${name}: 0x${pattern.toString(16)} ${where}`];
};

/** Values that are finite and ordinary, only others: what the answer must follow. */
const scaled: Change = (rng, file) => {
  const { name, dtype: stored, begin, end } = aTensor(rng, file);
  const data = file.data.slice();
  const exponent = rng.pick([-40, -8, -2, 1, 2, 4, 8, 40]);
  if (stored !== 'F32') data.fill(0, begin, end);
  else {
    const view = new DataView(data.buffer);
    for (let at = begin; at < end; at += 4) {
      view.setFloat32(at, view.getFloat32(at, true) * 2 ** exponent, true);
    }
  }
  const what = stored === 'F32' ? `times 2^${exponent}` : 'all zero';
  return [putTogether({ ...file, data }), `${name}: ${what}`];
};

const CHANGES: readonly Change[] = [
  headerTree,
  headerTree,
  offsets,
  shape,
  dtype,
  names,
  length,
  extras,
  metadata,
  dataBits,
  elements,
  elements,
  scaled,
];
