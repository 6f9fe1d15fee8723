import { map2, map3 } from '../interpret/map-broadcast.ts';
import { broadcast, type Call, expects, expectsSameDType, isFloat, type OpRule } from './rule.ts';

type Function2 = (a: number, b: number) => number;

/** Two numbers of one type, broadcast. `whole` where whole numbers are computed otherwise. */
function arithmetic(f: Function2, whole: Function2 = f): OpRule {
  return {
    infer: ({ inputs }: Call) => {
      expectsSameDType(inputs);
      expects(inputs[0].dtype !== 'bool', 'inputs are bool');
      return [{ dtype: inputs[0].dtype, shape: broadcast(inputs) }];
    },
    interpret: ([a, b]) => [map2(a, b, a.dtype, isFloat(a.dtype) ? f : whole)],
  };
}

export const arithmeticOps = {
  Add: arithmetic((a, b) => a + b),
  Sub: arithmetic((a, b) => a - b),
  Mul: arithmetic((a, b) => a * b),
  Div: arithmetic(
    (a, b) => a / b,
    (a, b) => Math.trunc(a / b),
  ),
  Pow: arithmetic((a, b) => a ** b),
  Min: arithmetic(Math.min),
  Max: arithmetic(Math.max),
  /** Inputs: x, low, high; the bounds are scalars. */
  Clip: {
    infer: ({ inputs }) => {
      expectsSameDType(inputs);
      expects(inputs[1].shape.length === 0 && inputs[2].shape.length === 0, 'bounds not scalar');
      return [{ dtype: inputs[0].dtype, shape: inputs[0].shape }];
    },
    interpret: ([x, low, high]) => [
      map3([low, x, high], (least, n, most) => Math.min(Math.max(n, least), most)),
    ],
  },
} satisfies Record<string, OpRule>;
