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

/** Inputs: x and the axes; attribute keepdims. */
function reduction(): OpRule {
  return {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs.slice(0, 1));
      const [{ shape }, axesInput] = inputs;
      const axes = normalAxes(wholeContentOf(axesInput, 'axes'), shape.length);
      const keepDims = int(attributes, 'keepdims', 1) === 1;
      return [{ dtype: 'f32', shape: reducedShape(shape, axes, keepDims) }];
    },
  };
}

export const reduce = {
  ReduceSum: reduction(),
  ReduceMean: reduction(),
  ReduceMax: reduction(),
  ReduceMin: reduction(),
  ReduceSumSquare: reduction(),
  ReduceL2: reduction(),
  ReduceLogSumExp: reduction(),
  ArgMax: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const { shape } = inputs[0];
      const axis = normalAxis(int(attributes, 'axis', 0), shape.length);
      const keepDims = int(attributes, 'keepdims', 1) === 1;
      return [{ dtype: 'i64', shape: reducedShape(shape, [axis], keepDims) }];
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
  },
} satisfies Record<string, OpRule>;
