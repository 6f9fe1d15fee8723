import {
  addDims,
  type Dim,
  divideDims,
  multiplyDims,
  productOfDims,
  subtractDims,
} from '../dims.ts';
import {
  contentOf,
  expects,
  expectsSameDType,
  expectsWhole,
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
  const total = productOfDims(from);
  const known = productOfDims(copied.filter((n) => n !== -1));
  if (!copied.includes(-1)) {
    expects(known === total, () => `${total} elements do not fill [${copied.join(', ')}]`);
    return copied;
  }
  const rest = divideDims(total, known) ?? refuse(`${total} elements are no multiple of ${known}`);
  return copied.map((n) => (n === -1 ? rest : n));
}

/**
 * The size of start:end:step of an axis. Numbers are clamped as ONNX does; where a size or a bound is symbolic, the
 * caller vouches for 0 ≤ start ≤ end ≤ size (the interpreter checks it when the sizes are known).
 */
function slicedSize(size: Dim, start: Dim, end: Dim, step: number): Dim {
  expects(step !== 0, 'step is 0');
  const fromEnd = (n: Dim) => (typeof n === 'number' && n < 0 ? addDims(n, size) : n);
  if (typeof size === 'number' && typeof start === 'number' && typeof end === 'number') {
    const [low, high] = step < 0 ? [-1, size - 1] : [0, size];
    const clamp = (n: number, least: number) => Math.min(Math.max(n, least), high);
    const first = clamp(fromEnd(start) as number, 0);
    const last = end <= -SLICE_END ? low : clamp(fromEnd(end) as number, low);
    return Math.max(0, Math.ceil((last - first) / step));
  }
  expects(step === 1, `a step over the symbolic size ${size}`);
  const last = typeof end === 'number' && end >= SLICE_END ? size : fromEnd(end);
  return subtractDims(last, fromEnd(start));
}

/** "To the end" in a Slice; ONNX clamps it to the size. Fits 32 bits, because some providers narrow there. */
export const SLICE_END = 2 ** 31 - 1;

export const shape = {
  Transpose: {
    infer: ({ inputs, attributes }) => {
      const { shape: from, dtype } = inputs[0];
      const perm = normalAxes(ints(attributes, 'perm'), from.length);
      expects(perm.length === from.length, () => `perm [${perm}] is not of rank ${from.length}`);
      return [{ dtype, shape: perm.map((axis) => from[axis]) }];
    },
  },
  Reshape: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, target] = inputs;
      return [{ dtype, shape: reshaped(from, contentOf(target, 'the shape')) }];
    },
  },
  Flatten: {
    infer: ({ inputs, attributes }) => {
      const { dtype, shape: from } = inputs[0];
      const axis = int(attributes, 'axis', 1);
      const at = axis === from.length ? axis : normalAxis(axis, from.length);
      return [{ dtype, shape: [productOfDims(from.slice(0, at)), productOfDims(from.slice(at))] }];
    },
  },
  Unsqueeze: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, axesInput] = inputs;
      const given = wholeContentOf(axesInput, 'axes');
      const axes = normalAxes(given, from.length + given.length);
      const rest = [...from];
      const out = Array.from({ length: from.length + axes.length }, (_, i) =>
        axes.includes(i) ? 1 : (rest.shift() as Dim),
      );
      return [{ dtype, shape: out }];
    },
  },
  Squeeze: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, axesInput] = inputs;
      const axes = normalAxes(wholeContentOf(axesInput, 'axes'), from.length);
      for (const axis of axes) expects(from[axis] === 1, () => `axis ${axis} is ${from[axis]}`);
      return [{ dtype, shape: from.filter((_, i) => !axes.includes(i)) }];
    },
  },
  Concat: {
    infer: ({ inputs, attributes }) => {
      expectsSameDType(inputs);
      const [{ dtype, shape: first }] = inputs;
      const axis = normalAxis(int(attributes, 'axis', 0), first.length);
      const out = [...first];
      for (const { shape: next } of inputs.slice(1)) {
        expects(
          next.length === first.length && next.every((n, i) => i === axis || n === first[i]),
          () => `shapes differ outside axis ${axis}`,
        );
        out[axis] = addDims(out[axis], next[axis]);
      }
      return [{ dtype, shape: out }];
    },
  },
  /** Inputs: x, starts, ends, axes, steps. */
  Slice: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, startsInput, endsInput, axesInput, stepsInput] = inputs;
      const starts = contentOf(startsInput, 'starts');
      const ends = contentOf(endsInput, 'ends');
      const steps = wholeContentOf(stepsInput, 'steps');
      const out = [...from];
      normalAxes(wholeContentOf(axesInput, 'axes'), from.length).forEach((axis, i) => {
        out[axis] = slicedSize(from[axis], starts[i], ends[i], steps[i]);
      });
      return [{ dtype, shape: out }];
    },
  },
  Split: {
    infer: ({ inputs, attributes }) => {
      const [{ dtype, shape: from }, sizesInput] = inputs;
      const axis = normalAxis(int(attributes, 'axis', 0), from.length);
      const sizes = contentOf(sizesInput, 'split sizes');
      const total = sizes.reduce(addDims, 0);
      expects(total === from[axis], () => `sizes sum to ${total}, axis ${axis} is ${from[axis]}`);
      return sizes.map((size) => ({ dtype, shape: from.map((n, i) => (i === axis ? size : n)) }));
    },
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
  },
  Tile: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, repeats] = inputs;
      const times = contentOf(repeats, 'repeats');
      expects(times.length === from.length, 'repeats are not one for each axis');
      return [{ dtype, shape: from.map((n, i) => multiplyDims(n, times[i])) }];
    },
  },
  /** start, limit, delta, all i64 scalars with known content; delta 1 where a size is symbolic. */
  Range: {
    infer: ({ inputs }) => {
      for (const input of inputs) expectsWhole(input, 'a bound');
      const [start, limit, delta] = inputs.map((input) => contentOf(input, 'a bound')[0]);
      if (typeof start === 'number' && typeof limit === 'number' && typeof delta === 'number') {
        expects(delta !== 0, 'delta is 0');
        return [{ dtype: 'i64', shape: [Math.max(0, Math.ceil((limit - start) / delta))] }];
      }
      expects(delta === 1, 'a delta over a symbolic size');
      return [{ dtype: 'i64', shape: [subtractDims(limit, start)] }];
    },
  },
  Shape: {
    infer: ({ inputs, attributes }) => {
      const from = inputs[0].shape;
      const start = int(attributes, 'start', 0);
      const content = from.slice(start, int(attributes, 'end', from.length));
      return [{ dtype: 'i64', shape: [content.length], content }];
    },
  },
  Size: {
    infer: ({ inputs }) => [{ dtype: 'i64', shape: [], content: [productOfDims(inputs[0].shape)] }],
  },
  ConstantOfShape: {
    infer: ({ inputs, attributes }) => {
      const value = attributes['value'];
      expects(typeof value === 'object' && 'fill' in value, 'no value');
      const { dtype } = value as { dtype: 'f32' };
      return [{ dtype, shape: contentOf(inputs[0], 'the shape') }];
    },
  },
  /** Lower (upper = 0) or upper triangle of the last two axes, from diagonal k on. */
  Trilu: {
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, k] = inputs;
      expects(from.length >= 2, 'x has fewer than 2 axes');
      wholeContentOf(k, 'k');
      return [{ dtype, shape: from }];
    },
  },
} satisfies Record<string, OpRule>;
