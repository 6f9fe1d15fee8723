import type { SliceOptions } from '../builder/shape-methods.ts';
import type { Dim } from '../dims.ts';
import type { OpCase } from './case-kit.ts';

const shape = ['batch', 'pos', 6] as const;

function reshape(how: string, from: readonly Dim[], to: readonly Dim[]): OpCase {
  return { title: `Reshape ${how}`, build: (k) => [k.g.reshape(k.float(from), to)] };
}

function slice(how: string, options: SliceOptions): OpCase {
  return { title: `Slice ${how}`, build: (k) => [k.g.slice(k.float([5, 'batch', 6]), options)] };
}

function expand(from: readonly Dim[], to: readonly Dim[]): OpCase {
  return {
    title: `Expand [${from}] to [${to}]`,
    build: (k) => {
      const named = k.float(['batch', 'pos']); // where the graph reads the sizes from
      return [k.g.expand(k.float(from), to), named];
    },
  };
}

export const shapeCases: readonly OpCase[] = [
  {
    title: 'Transpose',
    build: (k) => [k.g.transpose(k.float(shape), k.rng.shuffle([0, 1, 2]))],
  },
  { title: 'Transpose without perm', build: (k) => [k.g.transpose(k.float(shape))] },
  reshape('into heads', shape, ['batch', 'pos', 2, 3]),
  reshape('from heads', ['batch', 'pos', 2, 3], ['batch', 'pos', -1]),
  reshape('of symbolic axes into one', shape, ['batch*pos', 6]),
  reshape('of symbolic axes swapped', shape, [2, 'pos', 3, 'batch']),
  reshape('to a list', shape, [-1]),
  {
    title: 'Reshape of a product apart',
    build: (k) => {
      const rows = k.g.reshape(k.float(shape), [-1, 6]);
      return [k.g.reshape(rows, ['batch', 'pos', 2, -1])];
    },
  },
  {
    title: 'Reshape of a sum of sizes',
    build: (k) => {
      const x = k.g.concat([k.float(['batch', 'pos', 4]), k.float(['batch', 1, 4])], { axis: 1 });
      const apart = k.g.reshape(x, ['batch', 'pos+1', 2, 2]);
      return [k.g.reshape(apart, [-1, 4]), k.g.reshape(apart, [2, 'pos+1', 2, 'batch'])];
    },
  },
  {
    title: 'Flatten',
    build: (k) => [k.g.flatten(k.float(shape), { axis: k.rng.below(4) })],
  },
  { title: 'Unsqueeze', build: (k) => [k.g.unsqueeze(k.float(shape), [-1, k.rng.below(4)])] },
  { title: 'Squeeze', build: (k) => [k.g.squeeze(k.float(['batch', 1, 'pos', 1]), [-1, 1])] },
  {
    title: 'Concat of a symbolic axis',
    build: (k) => [k.g.concat([k.float([3, 'pos']), k.float([3, 'key_pos'])], { axis: -1 })],
  },
  {
    title: 'Concat of three',
    build: (k) => {
      const parts = [k.float([k.n, 'pos', 2]), k.float([k.n, 'pos', 2]), k.float([1, 'pos', 2])];
      return [k.g.concat(parts, { axis: 0 })];
    },
  },
  slice('from the start', { axis: 2, end: 4 }),
  slice('to the end', { axis: 0, start: 2 }),
  slice('from the end', { axis: -1, start: -2 }),
  slice('up to the end', { axis: -1, start: 1, end: -1 }),
  slice('past the end', { axis: 2, start: 1, end: 100 }),
  slice('of nothing', { axis: 2, start: 4, end: 4 }),
  slice('with a step', { axis: 2, start: 1, step: 2 }),
  slice('backwards', { axis: 2, step: -1 }),
  slice('backwards with a step', { axis: 0, start: 3, end: 0, step: -2 }),
  {
    title: 'Slice of a symbolic axis',
    build: (k) => {
      const x = k.g.concat([k.float([2, 'pos']), k.float([2, 2])], { axis: 1 });
      return [k.g.slice(x, { axis: 1, start: 1, end: -1 }), k.g.slice(x, { axis: 1, start: -2 })];
    },
  },
  {
    title: 'Slice between fed bounds',
    build: (k) => {
      const start = k.sizeInput('start', k.rng.below(3));
      const end = k.sizeInput('end', 3 + k.rng.below(3));
      return [k.g.slice(k.float(['batch', 6]), { axis: 1, start, end })];
    },
  },
  {
    title: 'Split',
    build: (k) => [...k.g.split(k.float(shape), { axis: -1, sizes: [1, 3, 2] })],
  },
  {
    title: 'Split of which one piece is used',
    build: (k) => [k.g.split(k.float([6, 'pos']), { axis: 0, sizes: [2, 4] })[1]],
  },
  expand([3], ['batch', 'pos', 3]),
  expand(['batch', 1], ['batch', 'pos']),
  expand([], ['pos', 2]),
  expand([2, 1, 'pos'], ['batch', 1]),
  { title: 'Tile', build: (k) => [k.g.tile(k.float(['batch', 3]), [k.n, k.n])] },
  {
    title: 'Tile by a symbolic number',
    build: (k) => [k.g.tile(k.float(['batch', 3]), [1, 'batch'])],
  },
  {
    title: 'Range of a symbolic size',
    build: (k) => {
      const x = k.float([3, 'pos']);
      return [k.g.range('pos'), k.g.range('pos+2', { start: 1 }), x];
    },
  },
  { title: 'Range of numbers', build: (k) => [k.g.range(9, { start: -2, delta: 3 })] },
  {
    title: 'Shape and Size',
    build: (k) => {
      const x = k.float(shape);
      return [k.g.shape(x), k.g.size(x), k.g.dims(['2*batch*pos+1'])];
    },
  },
  {
    title: 'ConstantOfShape',
    build: (k) => {
      const x = k.float(['batch', 'pos']);
      return [k.g.constantOfShape(['pos', 'batch', 2], 0.25), k.g.zerosLike(x), x];
    },
  },
  ...[false, true].map(
    (upper): OpCase => ({
      title: `Trilu ${upper ? 'upper' : 'lower'}`,
      build: (k) => {
        const x = k.float(['batch', 'query_pos', 'key_pos']);
        return [k.g.trilu(x, { upper, k: k.rng.below(5) - 2 })];
      },
    }),
  ),
  {
    title: 'Trilu of truth values',
    build: (k) => [k.g.trilu(k.bits(['pos', 'pos']))],
  },
];
