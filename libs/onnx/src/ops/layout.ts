import { elementCount } from '@heddle/tensor';
import { type Dim, divideDims, multiplyDims, productOfDims } from '../dims.ts';
import {
  broadcastShape,
  broadcastStrides,
  type NdArray,
  readStrided,
  stridesOf,
  transposed,
} from '../interpret/nd-array.ts';
import {
  contentOf,
  expects,
  type Gradient,
  int,
  ints,
  normalAxes,
  normalAxis,
  type OpRule,
  refuse,
  wholeContentOf,
} from './rule.ts';

/** ONNX's Reshape target: 0 copies the size at its place, one -1 is what remains. */
function reshaped(from: readonly Dim[], target: readonly Dim[]): readonly Dim[] {
  const copied = target.map((n, i) => (n === 0 ? (from[i] ?? refuse('0 copies no axis')) : n));
  // What stands on both sides cancels, so that sums ('pos+1') never have to be divided.
  const remaining = [...from];
  const added = copied.filter((n) => {
    const at = remaining.indexOf(n);
    if (at >= 0) remaining.splice(at, 1);
    return at < 0 && n !== -1;
  });
  const total = productOfDims(remaining);
  const known = productOfDims(added);
  if (!copied.includes(-1)) {
    expects(known === total, () => `${total} elements do not fill [${copied.join(', ')}]`);
    return copied;
  }
  const rest = divideDims(total, known) ?? refuse(`${total} elements are no multiple of ${known}`);
  return copied.map((n) => (n === -1 ? rest : n));
}

function unsqueezed(from: readonly Dim[], given: readonly number[]): readonly Dim[] {
  const axes = normalAxes(given, from.length + given.length);
  const rest = [...from];
  return Array.from({ length: from.length + axes.length }, (_, i) =>
    axes.includes(i) ? 1 : (rest.shift() as Dim),
  );
}

function squeezed(from: readonly Dim[], given: readonly number[]): readonly Dim[] {
  const axes = normalAxes(given, from.length);
  for (const axis of axes) expects(from[axis] === 1, () => `axis ${axis} is ${from[axis]}`);
  return from.filter((_, i) => !axes.includes(i));
}

/** The two sizes of Flatten; `axis` may be the rank. */
function flattened(from: readonly Dim[], axis: number): readonly Dim[] {
  const at = axis === from.length ? axis : normalAxis(axis, from.length);
  return [productOfDims(from.slice(0, at)), productOfDims(from.slice(at))];
}

/** The same elements in the same order under another shape. */
function relabelled(x: NdArray, to: readonly Dim[]): readonly NdArray[] {
  return [{ ...x, shape: to as readonly number[] }];
}

function tiled(x: NdArray, times: readonly number[]): NdArray {
  // An axis repeated t times is two axes, t and its own size, of which the first does not move.
  const own = stridesOf(x.shape);
  const pairs = x.shape.flatMap((n, axis) => [times[axis], n]);
  const strides = x.shape.flatMap((_, axis) => [0, own[axis]]);
  const shape = x.shape.map((n, axis) => n * times[axis]);
  return { ...readStrided(x, pairs, strides), shape };
}

/** The same numbers in x's shape. */
const backInShape: Gradient = ({ g, dy, inputs: [x] }) => [() => g.reshape(dy, x.shape), undefined];

/** Ops that rename, move or repeat axes. */
export const layoutOps = {
  Transpose: {
    infer: ({ inputs, attributes }) => {
      const { shape: from, dtype } = inputs[0];
      const perm = normalAxes(ints(attributes, 'perm'), from.length);
      expects(perm.length === from.length, () => `perm [${perm}] is not of rank ${from.length}`);
      return [{ dtype, shape: perm.map((axis) => from[axis]) }];
    },
    interpret: ([x], attributes) => [transposed(x, ints(attributes, 'perm'))],
    gradient: ({ g, dy, inputs: [x], attributes }) => {
      const perm = normalAxes(ints(attributes, 'perm'), x.shape.length);
      return [
        () =>
          g.transpose(
            dy,
            perm.map((_, axis) => perm.indexOf(axis)),
          ),
      ];
    },
  },
  Reshape: {
    gradient: backInShape,
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, target] = inputs;
      return [{ dtype, shape: reshaped(from, contentOf(target, 'the shape')) }];
    },
    interpret: ([x, target]) => {
      // A copied 0 is only known from x; everything else is arithmetic on counts.
      const to = [...target.data].map((n, i) => (n === 0 ? x.shape[i] : n));
      const rest = x.data.length / -elementCount(to);
      return relabelled(
        x,
        to.map((n) => (n === -1 ? rest : n)),
      );
    },
  },
  Flatten: {
    gradient: backInShape,
    infer: ({ inputs: [x], attributes }) => [
      { dtype: x.dtype, shape: flattened(x.shape, int(attributes, 'axis', 1)) },
    ],
    interpret: ([x], attributes) => relabelled(x, flattened(x.shape, int(attributes, 'axis', 1))),
  },
  Unsqueeze: {
    gradient: backInShape,
    infer: ({ inputs: [x, axes] }) => [
      { dtype: x.dtype, shape: unsqueezed(x.shape, wholeContentOf(axes, 'axes')) },
    ],
    interpret: ([x, axes]) => relabelled(x, unsqueezed(x.shape, [...axes.data])),
  },
  Squeeze: {
    gradient: backInShape,
    infer: ({ inputs: [x, axes] }) => [
      { dtype: x.dtype, shape: squeezed(x.shape, wholeContentOf(axes, 'axes')) },
    ],
    interpret: ([x, axes]) => relabelled(x, squeezed(x.shape, [...axes.data])),
  },
  Expand: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, target] = inputs;
      const to = contentOf(target, 'the shape');
      const rank = Math.max(from.length, to.length);
      const out = Array.from({ length: rank }, (_, i) => {
        const x = from[from.length - rank + i] ?? 1;
        const y = to[to.length - rank + i] ?? 1;
        expects(x === y || x === 1 || y === 1, () => `${x} does not broadcast with ${y}`);
        return x === 1 ? y : x;
      });
      return [{ dtype, shape: out }];
    },
    interpret: ([x, target]) => {
      const to = broadcastShape([x.shape, [...target.data]]);
      return [readStrided(x, to, broadcastStrides(x.shape, to))];
    },
    /** The walker sums what was repeated. */
    gradient: ({ dy }) => [() => dy, undefined],
  },
  Tile: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, repeats] = inputs;
      const times = contentOf(repeats, 'repeats');
      expects(times.length === from.length, 'repeats are not one for each axis');
      return [{ dtype, shape: from.map((n, i) => multiplyDims(n, times[i])) }];
    },
    interpret: ([x, repeats]) => [tiled(x, [...repeats.data])],
    gradient: ({ g, dy, inputs: [x, repeats] }) => {
      const times = contentOf(repeats, 'repeats');
      const axes = x.shape.map((_, axis) => 2 * axis);
      const pairs = x.shape.flatMap((n, axis) => [times[axis], n]);
      const sum = () => g.reduceSum(g.reshape(dy, pairs), { axes, keepDims: false });
      return [sum, undefined];
    },
  },
} satisfies Record<string, OpRule>;
