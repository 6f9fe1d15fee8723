import { erf } from '../interpret/erf.ts';
import { type NdArray, ndArray } from '../interpret/nd-array.ts';
import { expectsFloat, type OpRule, text } from './rule.ts';

type Function1 = (x: number) => number;

/** f32 in, f32 out, same shape. */
function unary(f: Function1): OpRule {
  return {
    infer: ({ inputs }) => {
      expectsFloat(inputs);
      return [{ dtype: 'f32', shape: inputs[0].shape }];
    },
    interpret: ([x]) => [mapped(x, f)],
  };
}

function mapped(x: NdArray, f: Function1): NdArray {
  return ndArray(x.dtype, x.shape, x.data.map(f));
}

const sigmoid: Function1 = (x) => 1 / (1 + Math.exp(-x));
const geluErf: Function1 = (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2));
const geluTanh: Function1 = (x) =>
  0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

export const unaryOps = {
  Neg: unary((x) => -x),
  Sqrt: unary(Math.sqrt),
  Exp: unary(Math.exp),
  Log: unary(Math.log),
  Abs: unary(Math.abs),
  Reciprocal: unary((x) => 1 / x),
  Erf: unary(erf),
  Tanh: unary(Math.tanh),
  Sigmoid: unary(sigmoid),
  Relu: unary((x) => Math.max(x, 0)),
  Sin: unary(Math.sin),
  Cos: unary(Math.cos),
  Sign: unary(Math.sign),
  Floor: unary(Math.floor),
  Gelu: {
    ...unary(geluErf),
    interpret: ([x], attributes) => [
      mapped(x, text(attributes, 'approximate', 'none') === 'tanh' ? geluTanh : geluErf),
    ],
  },
} satisfies Record<string, OpRule>;
