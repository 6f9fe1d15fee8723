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

/** Inputs: x and the axes; attribute keepdims. */
function reduction(
  reduced: (x: NdArray, axes: readonly number[], keepDims: boolean) => NdArray,
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
  };
}

function folding(fold: Fold): OpRule {
  return reduction((x, axes, keepDims) => folded(x, axes, keepDims, fold));
}

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
  ReduceSum: folding(sum),
  ReduceMean: folding({ ...sum, finish: (total, count) => total / count }),
  ReduceMax: folding(largest),
  ReduceMin: folding(smallest),
  ReduceSumSquare: folding(sumSquare),
  ReduceL2: folding({ ...sumSquare, finish: Math.sqrt }),
  ReduceLogSumExp: reduction(logSumExp),
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
  },
} satisfies Record<string, OpRule>;
