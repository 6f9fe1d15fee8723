import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import { erf } from '../interpret/erf.ts';
import { mapped } from '../interpret/nd-array.ts';
import { type Backward, expectsFloat, type NotDifferentiable, type OpRule, text } from './rule.ts';

type Function1 = (x: number) => number;

/** dy and what it is multiplied with. */
type Chain = (backward: Backward & { readonly x: Value; readonly y: Value }) => Value;

/** f32 in, f32 out, same shape. */
function unary(f: Function1, gradient: Chain | NotDifferentiable): OpRule {
  return {
    infer: ({ inputs }) => {
      expectsFloat(inputs);
      return [{ dtype: 'f32', shape: inputs[0].shape }];
    },
    interpret: ([x]) => [mapped(x, f)],
    gradient:
      typeof gradient === 'function'
        ? (b) => [() => gradient({ ...b, x: b.inputs[0], y: b.outputs[0] })]
        : gradient,
  };
}

const SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
const CUBIC = 0.044715; // Hendrycks & Gimpel 2016

const sigmoid: Function1 = (x) => 1 / (1 + Math.exp(-x));
const geluErf: Function1 = (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2));
const geluTanh: Function1 = (x) => 0.5 * x * (1 + Math.tanh(SQRT_2_OVER_PI * (x + CUBIC * x ** 3)));

/** d/dx x Φ(x) = Φ(x) + x φ(x). */
function geluErfSlope(g: GraphBuilder, x: Value): Value {
  const cumulative = g.mul(g.add(g.erf(g.mul(x, Math.SQRT1_2)), 1), 0.5);
  const density = g.mul(g.exp(g.mul(g.mul(x, x), -0.5)), 1 / Math.sqrt(2 * Math.PI));
  return g.add(cumulative, g.mul(x, density));
}

/** With t = tanh(u): ½(1 + t) + ½ x (1 − t²) u′, where u = √(2/π) (x + c x³). */
function geluTanhSlope(g: GraphBuilder, x: Value): Value {
  const square = g.mul(x, x);
  const u = g.mul(g.mul(x, g.add(g.mul(square, CUBIC), 1)), SQRT_2_OVER_PI);
  const t = g.tanh(u);
  const du = g.mul(g.add(g.mul(square, 3 * CUBIC), 1), SQRT_2_OVER_PI);
  const curve = g.mul(g.mul(x, g.sub(1, g.mul(t, t))), du);
  return g.mul(g.add(g.add(t, 1), curve), 0.5);
}

const steps: NotDifferentiable = { notDifferentiable: 'constant between its jumps' };

export const unaryOps = {
  Neg: unary(
    (x) => -x,
    ({ g, dy }) => g.neg(dy),
  ),
  Sqrt: unary(Math.sqrt, ({ g, dy, y }) => g.div(g.mul(dy, 0.5), y)),
  Exp: unary(Math.exp, ({ g, dy, y }) => g.mul(dy, y)),
  Log: unary(Math.log, ({ g, dy, x }) => g.div(dy, x)),
  /** 0 at 0. */
  Abs: unary(Math.abs, ({ g, dy, x }) => g.mul(dy, g.sign(x))),
  Reciprocal: unary(
    (x) => 1 / x,
    ({ g, dy, y }) => g.neg(g.mul(dy, g.mul(y, y))),
  ),
  Erf: unary(erf, ({ g, dy, x }) =>
    g.mul(dy, g.mul(g.exp(g.neg(g.mul(x, x))), 2 / Math.sqrt(Math.PI))),
  ),
  Tanh: unary(Math.tanh, ({ g, dy, y }) => g.mul(dy, g.sub(1, g.mul(y, y)))),
  Sigmoid: unary(sigmoid, ({ g, dy, y }) => g.mul(dy, g.mul(y, g.sub(1, y)))),
  /** 0 at 0. */
  Relu: unary(
    (x) => Math.max(x, 0),
    ({ g, dy, x }) => g.where(g.greater(x, 0), dy, 0),
  ),
  Sin: unary(Math.sin, ({ g, dy, x }) => g.mul(dy, g.cos(x))),
  Cos: unary(Math.cos, ({ g, dy, x }) => g.neg(g.mul(dy, g.sin(x)))),
  Sign: unary(Math.sign, steps),
  Floor: unary(Math.floor, steps),
  Gelu: {
    ...unary(geluErf, ({ g, dy, x, attributes }) => {
      const tanh = text(attributes, 'approximate', 'none') === 'tanh';
      return g.mul(dy, tanh ? geluTanhSlope(g, x) : geluErfSlope(g, x));
    }),
    interpret: ([x], attributes) => [
      mapped(x, text(attributes, 'approximate', 'none') === 'tanh' ? geluTanh : geluErf),
    ],
  },
} satisfies Record<string, OpRule>;
