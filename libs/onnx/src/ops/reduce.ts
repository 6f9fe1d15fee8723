import { productOfDims } from '../dims.ts';
import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import { eachLine, filled, type NdArray, stridesOf, walk } from '../interpret/nd-array.ts';
import {
  expects,
  expectsFloat,
  int,
  normalAxes,
  normalAxis,
  type OpRule,
  reducedShape,
  wholeContentOf,
  wholeNumber,
} from './rule.ts';

/** A fold over the elements that a reduction joins, and what is made of the result of `count` of them. */
interface Fold {
  readonly from: number;
  readonly step: (sum: number, x: number) => number;
  readonly finish?: (sum: number, count: number) => number;
}

function folded(x: NdArray, axes: readonly number[], keepDims: boolean, fold: Fold): NdArray {
  const kept = reducedShape(x.shape, axes, true) as number[];
  const out = filled('f32', reducedShape(x.shape, axes, keepDims) as number[], fold.from);
  const strides = stridesOf(kept).map((step, axis) => (axes.includes(axis) ? 0 : step));
  walk(x.shape, [strides], ([to], place) => {
    out.data[to] = fold.step(out.data[to], x.data[place]);
  });
  const { finish } = fold;
  if (finish === undefined) return out;
  const count = axes.reduce((product, axis) => product * x.shape[axis], 1);
  return { ...out, data: out.data.map((sum) => finish(sum, count)) };
}

/** Gradient by x; y and dy have the reduced axes put back with size 1, so that they broadcast against x. */
type Spread = (backward: {
  readonly g: GraphBuilder;
  readonly x: Value;
  readonly y: Value;
  readonly dy: Value;
  readonly axes: readonly number[];
}) => Value;

/** Inputs: x and the axes; attribute keepdims. */
function reduction(
  reduced: (x: NdArray, axes: readonly number[], keepDims: boolean) => NdArray,
  spread: Spread,
): OpRule {
  return {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs.slice(0, 1));
      const [{ shape }, axesInput] = inputs;
      const axes = normalAxes(wholeContentOf(axesInput, 'axes'), shape.length);
      const keepDims = int(attributes, 'keepdims', 1) === 1;
      return [{ dtype: 'f32', shape: reducedShape(shape, axes, keepDims) }];
    },
    interpret: ([x, axesInput], attributes) => {
      const axes = normalAxes([...axesInput.data], x.shape.length);
      return [reduced(x, axes, int(attributes, 'keepdims', 1) === 1)];
    },
    gradient: ({ g, dy, inputs: [x, axesInput], outputs: [y], attributes }) => {
      const axes = normalAxes(wholeContentOf(axesInput, 'axes'), x.shape.length);
      const keep = (value: Value) =>
        int(attributes, 'keepdims', 1) === 1 ? value : g.unsqueeze(value, axes);
      return [() => spread({ g, x, y: keep(y), dy: keep(dy), axes }), undefined];
    },
  };
}

function folding(fold: Fold, spread: Spread): OpRule {
  return reduction((x, axes, keepDims) => folded(x, axes, keepDims, fold), spread);
}

/** To the element that was chosen; equal ones share it evenly. */
const toChosen: Spread = ({ g, x, y, dy, axes }) => {
  const chosen = g.cast(g.equal(x, y), 'f32');
  return g.mul(chosen, g.div(dy, g.reduceSum(chosen, { axes })));
};

const sum: Fold = { from: 0, step: (total, x) => total + x };
const sumSquare: Fold = { from: 0, step: (total, x) => total + x * x };
const largest: Fold = { from: Number.NEGATIVE_INFINITY, step: Math.max };
const smallest: Fold = { from: Number.POSITIVE_INFINITY, step: Math.min };

/** max + log Σ exp(x − max): no exponential overflows. */
function logSumExp(x: NdArray, axes: readonly number[], keepDims: boolean): NdArray {
  const top = folded(x, axes, true, largest);
  const strides = stridesOf(top.shape).map((step, axis) => (axes.includes(axis) ? 0 : step));
  const total = filled('f32', top.shape);
  walk(x.shape, [strides], ([to], place) => {
    total.data[to] += Math.exp(x.data[place] - top.data[to]);
  });
  return {
    dtype: 'f32',
    shape: reducedShape(x.shape, axes, keepDims) as number[],
    data: total.data.map((n, i) => Math.log(n) + top.data[i]),
  };
}

function cumulative(x: NdArray, axis: number, exclusive: boolean, reverse: boolean): NdArray {
  const out = filled('f32', x.shape);
  eachLine(x.shape, axis, (start, step, along) => {
    let total = 0;
    for (let n = 0; n < along; n++) {
      const at = start + (reverse ? along - 1 - n : n) * step;
      if (exclusive) out.data[at] = total;
      total += x.data[at];
      if (!exclusive) out.data[at] = total;
    }
  });
  return out;
}

export const reduceOps = {
  ReduceSum: folding(sum, ({ g, x, dy }) => g.expandLike(dy, x)),
  ReduceMean: folding({ ...sum, finish: (total, count) => total / count }, (b) => {
    const { g, x, dy, axes } = b;
    const count = g.number(productOfDims(axes.map((axis) => x.shape[axis])));
    return g.expandLike(g.div(dy, count), x);
  }),
  ReduceMax: folding(largest, toChosen),
  ReduceMin: folding(smallest, toChosen),
  ReduceSumSquare: folding(sumSquare, ({ g, x, dy }) => g.mul(g.mul(x, 2), dy)),
  /** Undefined where all of x is 0. */
  ReduceL2: folding({ ...sumSquare, finish: Math.sqrt }, ({ g, x, y, dy }) =>
    g.mul(x, g.div(dy, y)),
  ),
  ReduceLogSumExp: reduction(logSumExp, ({ g, x, y, dy }) => g.mul(g.exp(g.sub(x, y)), dy)),
  ArgMax: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const { shape } = inputs[0];
      const axis = normalAxis(int(attributes, 'axis', 0), shape.length);
      const keepDims = int(attributes, 'keepdims', 1) === 1;
      return [{ dtype: 'i64', shape: reducedShape(shape, [axis], keepDims) }];
    },
    interpret: ([x], attributes) => {
      const axis = normalAxis(int(attributes, 'axis', 0), x.shape.length);
      const keepDims = int(attributes, 'keepdims', 1) === 1;
      const out = filled('i64', reducedShape(x.shape, [axis], keepDims) as number[]);
      let place = 0;
      eachLine(x.shape, axis, (start, step, along) => {
        let best = 0;
        for (let i = 1; i < along; i++) {
          if (x.data[start + i * step] > x.data[start + best * step]) best = i;
        }
        out.data[place++] = best;
      });
      return [out];
    },
    gradient: wholeNumber,
  },
  CumSum: {
    infer: ({ inputs }) => {
      expectsFloat(inputs.slice(0, 1));
      const [{ shape }, axisInput] = inputs;
      expects(axisInput.shape.length === 0, 'the axis is not a scalar');
      normalAxis(wholeContentOf(axisInput, 'axis')[0], shape.length);
      return [{ dtype: 'f32', shape }];
    },
    interpret: ([x, axisInput], attributes) => {
      const axis = normalAxis(axisInput.data[0], x.shape.length);
      const exclusive = int(attributes, 'exclusive', 0) === 1;
      return [cumulative(x, axis, exclusive, int(attributes, 'reverse', 0) === 1)];
    },
    /** Each element counts in all sums after it: the same sum from the other end. */
    gradient: ({ g, dy, inputs: [, axisInput], attributes }) => {
      const axis = wholeContentOf(axisInput, 'axis')[0];
      const exclusive = int(attributes, 'exclusive', 0) === 1;
      const reverse = int(attributes, 'reverse', 0) === 0;
      return [() => g.cumSum(dy, { axis, exclusive, reverse }), undefined];
    },
  },
} satisfies Record<string, OpRule>;
