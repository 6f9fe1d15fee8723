import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import { map2, map3 } from '../interpret/map-broadcast.ts';
import { broadcast, type Call, expects, expectsSameDType, isFloat, type OpRule } from './rule.ts';

type Function2 = (a: number, b: number) => number;

/** The gradients by a and by b; y = f(a, b). */
type Chain = (backward: {
  readonly g: GraphBuilder;
  readonly dy: Value;
  readonly a: Value;
  readonly b: Value;
  readonly y: Value;
}) => readonly [() => Value, () => Value];

/** Two numbers of one type, broadcast. `whole` where whole numbers are computed otherwise. */
function arithmetic(f: Function2, chain: Chain, whole: Function2 = f): OpRule {
  return {
    infer: ({ inputs }: Call) => {
      expectsSameDType(inputs);
      expects(inputs[0].dtype !== 'bool', 'inputs are bool');
      return [{ dtype: inputs[0].dtype, shape: broadcast(inputs) }];
    },
    interpret: ([a, b]) => [map2(a, b, a.dtype, isFloat(a.dtype) ? f : whole)],
    gradient: ({ g, dy, inputs: [a, b], outputs: [y] }) => chain({ g, dy, a, b, y }),
  };
}

export const arithmeticOps = {
  Add: arithmetic(
    (a, b) => a + b,
    ({ dy }) => [() => dy, () => dy],
  ),
  Sub: arithmetic(
    (a, b) => a - b,
    ({ g, dy }) => [() => dy, () => g.neg(dy)],
  ),
  Mul: arithmetic(
    (a, b) => a * b,
    ({ g, dy, a, b }) => [() => g.mul(dy, b), () => g.mul(dy, a)],
  ),
  Div: arithmetic(
    (a, b) => a / b,
    ({ g, dy, b, y }) => [() => g.div(dy, b), () => g.neg(g.div(g.mul(dy, y), b))],
    (a, b) => Math.trunc(a / b),
  ),
  /** The gradient by the exponent needs a > 0. */
  Pow: arithmetic(
    (a, b) => a ** b,
    ({ g, dy, a, b, y }) => [
      () => g.mul(dy, g.mul(b, g.pow(a, g.sub(b, 1)))),
      () => g.mul(dy, g.mul(y, g.log(a))),
    ],
  ),
  /** Of equal ones, the first gets the gradient. */
  Min: arithmetic(Math.min, ({ g, dy, a, b }) => [
    () => g.where(g.lessOrEqual(a, b), dy, 0),
    () => g.where(g.lessOrEqual(a, b), 0, dy),
  ]),
  /** Of equal ones, the first gets the gradient. */
  Max: arithmetic(Math.max, ({ g, dy, a, b }) => [
    () => g.where(g.greaterOrEqual(a, b), dy, 0),
    () => g.where(g.greaterOrEqual(a, b), 0, dy),
  ]),
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
    /** To x where it is not cut; the bounds are constants. */
    gradient: ({ g, dy, inputs: [x, low, high] }) => [
      () => g.where(g.and(g.greaterOrEqual(x, low), g.lessOrEqual(x, high)), dy, 0),
      undefined,
      undefined,
    ],
  },
} satisfies Record<string, OpRule>;
