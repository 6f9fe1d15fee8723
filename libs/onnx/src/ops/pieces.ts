import { addDims, type Dim, subtractDims } from '../dims.ts';
import type { Value } from '../graph.ts';
import { filled, type NdArray, readStrided, stridesOf, walk } from '../interpret/nd-array.ts';
import {
  contentOf,
  expects,
  expectsSameDType,
  type Gradient,
  int,
  normalAxes,
  normalAxis,
  type OpRule,
  wholeContentOf,
} from './rule.ts';
import { scatterRows } from './scatter-rows.ts';

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

/** dy with zeros where the slice did not read. A stepped slice reads single places of an axis of known size: as Gather does. */
const sliceGradient: Gradient = ({ g, dy, inputs: [x, starts, ends, axesInput, steps] }) => {
  const whole = (input: Value) => wholeContentOf(input, 'a slice to differentiate');
  const [axis, ...more] = normalAxes(whole(axesInput), x.shape.length);
  expects(more.length === 0, 'slices of one axis only have gradients');
  const [size, step] = [x.shape[axis], whole(steps)[0]];
  const into = () => {
    if (step !== 1) {
      const { first, count } = sliced(size as number, whole(starts)[0], whole(ends)[0], step);
      const places = Array.from({ length: count }, (_, i) => first + i * step);
      return scatterRows(g, dy, g.constant(places, 'i64'), { axis, size });
    }
    const from = (n: Dim) => (typeof n === 'number' && n < 0 ? addDims(n, size) : n);
    const [start] = contentOf(starts, 'starts').map(from);
    const before =
      typeof start === 'number' && typeof size === 'number' ? clamp(start, size) : start;
    const after = subtractDims(size, addDims(before, dy.shape[axis]));
    const zeros = (n: Dim) =>
      n === 0 ? [] : [g.constantOfShape(x.shape.with(axis, n) as readonly Dim[], 0)];
    return g.concat([...zeros(before), dy, ...zeros(after)], { axis });
  };
  return [into, undefined, undefined, undefined, undefined];
};

function clamp(start: number, size: number): number {
  return Math.min(Math.max(start, 0), size);
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
    gradient: ({ g, dy, inputs, attributes }) => {
      const axis = normalAxis(int(attributes, 'axis', 0), inputs[0].shape.length);
      let end: Dim = 0;
      return inputs.map(({ shape }) => {
        const start = end;
        end = addDims(end, shape[axis]);
        const bounds = { axis, start, end };
        return () => g.slice(dy, bounds);
      });
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
    gradient: sliceGradient,
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
    gradient: ({ g, dys, outputs, attributes }) => {
      const parts = () => dys.map((dy, i) => dy ?? g.zerosLike(outputs[i]));
      return [() => g.concat(parts(), { axis: int(attributes, 'axis', 0) }), undefined];
    },
  },
} satisfies Record<string, OpRule>;
