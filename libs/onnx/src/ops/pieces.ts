import { addDims, type Dim, subtractDims } from '../dims.ts';
import { filled, type NdArray, readStrided, stridesOf, walk } from '../interpret/nd-array.ts';
import {
  contentOf,
  expects,
  expectsSameDType,
  int,
  normalAxes,
  normalAxis,
  type OpRule,
  wholeContentOf,
} from './rule.ts';

/** "To the end" in a Slice; ONNX clamps it to the size. Fits 32 bits, because some providers narrow there. */
export const SLICE_END = 2 ** 31 - 1;

/** First index and count of start:end:step of an axis of known size, clamped as ONNX says. */
function sliced(size: number, start: number, end: number, step: number) {
  const [low, high] = step < 0 ? [-1, size - 1] : [0, size];
  const fromEnd = (n: number) => (n < 0 ? n + size : n);
  const first = Math.min(Math.max(fromEnd(start), 0), high);
  const last = Math.min(Math.max(fromEnd(end), low), high);
  return { first, count: Math.max(0, Math.ceil((last - first) / step)) };
}

/**
 * The size of start:end:step of an axis. Where a size or a bound is symbolic, the caller vouches for
 * 0 ≤ start ≤ end ≤ size (the interpreter finds out when the sizes are known).
 */
function slicedSize(size: Dim, start: Dim, end: Dim, step: number): Dim {
  expects(step !== 0, 'step is 0');
  if (typeof size === 'number' && typeof start === 'number' && typeof end === 'number') {
    return sliced(size, start, end, step).count;
  }
  expects(step === 1, `a step over the symbolic size ${size}`);
  const fromEnd = (n: Dim) => (typeof n === 'number' && n < 0 ? addDims(n, size) : n);
  const last = typeof end === 'number' && end >= SLICE_END ? size : fromEnd(end);
  return subtractDims(last, fromEnd(start));
}

function concatenated(parts: readonly NdArray[], axis: number): NdArray {
  const total = parts.reduce((sum, { shape }) => sum + shape[axis], 0);
  const out = filled(
    parts[0].dtype,
    parts[0].shape.map((n, i) => (i === axis ? total : n)),
  );
  const strides = stridesOf(out.shape);
  let start = 0;
  for (const part of parts) {
    walk(
      part.shape,
      [strides],
      ([to], from) => {
        out.data[to] = part.data[from];
      },
      [start * strides[axis]],
    );
    start += part.shape[axis];
  }
  return out;
}

/** `count` places from `start` along an axis. */
function piece(x: NdArray, axis: number, start: number, count: number): NdArray {
  const strides = stridesOf(x.shape);
  const shape = x.shape.map((n, i) => (i === axis ? count : n));
  return readStrided(x, shape, strides, start * strides[axis]);
}

/** Ops that join and cut along an axis. */
export const pieceOps = {
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
    interpret: (inputs, attributes) => [
      concatenated(inputs, normalAxis(int(attributes, 'axis', 0), inputs[0].shape.length)),
    ],
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
    interpret: ([x, starts, ends, axesInput, steps]) => {
      const shape = [...x.shape];
      const strides = stridesOf(x.shape);
      let offset = 0;
      normalAxes([...axesInput.data], x.shape.length).forEach((axis, i) => {
        const cut = sliced(x.shape[axis], starts.data[i], ends.data[i], steps.data[i]);
        shape[axis] = cut.count;
        offset += cut.first * strides[axis];
        strides[axis] *= steps.data[i];
      });
      return [readStrided(x, shape, strides, offset)];
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
    interpret: ([x, sizes], attributes) => {
      const axis = normalAxis(int(attributes, 'axis', 0), x.shape.length);
      let start = 0;
      return [...sizes.data].map((size) => {
        start += size;
        return piece(x, axis, start - size, size);
      });
    },
  },
} satisfies Record<string, OpRule>;
