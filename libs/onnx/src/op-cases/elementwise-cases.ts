import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import type { CaseKit, OpCase } from './case-kit.ts';

type Range = { readonly low: number; readonly high: number };

const POSITIVE: Range = { low: 0.2, high: 3 };

function unary(
  title: string,
  op: (g: GraphBuilder, x: Value) => Value,
  range: Partial<Range> = {},
): OpCase {
  return { title, build: (k) => [op(k.g, k.float(['batch', k.n, 'pos'], range))] };
}

type Two = (g: GraphBuilder, a: Value, b: Value) => Value;

/** The ways in which two shapes broadcast; `make` gives an operand of a shape. */
function binary(
  title: string,
  op: Two,
  make: (k: CaseKit, shape: readonly (number | string)[]) => Value = (k, shape) => k.float(shape),
): OpCase[] {
  const shapes = {
    'of one shape': ['batch', 'pos', 3],
    'with a vector': [3],
    'with a column': ['pos', 1],
    'with a scalar': [],
    'with a batch of one': [1, 'pos', 3],
  };
  return Object.entries(shapes).flatMap(([how, shape]) => [
    {
      title: `${title} ${how}`,
      build: (k) => [op(k.g, make(k, ['batch', 'pos', 3]), make(k, shape))],
    },
    {
      title: `${title} ${how}, turned round`,
      build: (k) => [op(k.g, make(k, shape), make(k, ['batch', 'pos', 3]))],
    },
  ]);
}

const away = (k: CaseKit, shape: readonly (number | string)[]) => k.float(shape, POSITIVE);
const few = (k: CaseKit, shape: readonly (number | string)[]) => k.whole(shape, -1, 2);
const bits = (k: CaseKit, shape: readonly (number | string)[]) => k.bits(shape);

export const elementwiseCases: readonly OpCase[] = [
  unary('Neg', (g, x) => g.neg(x)),
  unary('Sqrt', (g, x) => g.sqrt(x), POSITIVE),
  unary('Exp', (g, x) => g.exp(x)),
  unary('Log', (g, x) => g.log(x), POSITIVE),
  unary('Abs', (g, x) => g.abs(x)),
  unary('Reciprocal', (g, x) => g.reciprocal(x), POSITIVE),
  unary('Erf', (g, x) => g.erf(x)),
  unary('Tanh', (g, x) => g.tanh(x)),
  unary('Sigmoid', (g, x) => g.sigmoid(x)),
  unary('Relu', (g, x) => g.relu(x)),
  unary('Sin', (g, x) => g.sin(x)),
  unary('Cos', (g, x) => g.cos(x)),
  unary('Sign', (g, x) => g.sign(x)),
  unary('Floor', (g, x) => g.floor(x)),
  unary('Gelu by erf', (g, x) => g.gelu(x)),
  unary('Gelu by tanh', (g, x) => g.gelu(x, { approximate: 'tanh' })),
  unary('Silu', (g, x) => g.silu(x)),
  unary('Identity', (g, x) => g.identity(x)),
  unary('Clip', (g, x) => g.clip(x, -0.5, 1)),
  unary('Add of a number', (g, x) => g.add(x, 0.1)),
  unary('Sub from a number', (g, x) => g.sub(1, x)),
  unary('a value used three times', (g, x) => g.mul(g.add(x, g.exp(x)), x)),
  ...binary('Add', (g, a, b) => g.add(a, b)),
  ...binary('Sub', (g, a, b) => g.sub(a, b)),
  ...binary('Mul', (g, a, b) => g.mul(a, b)),
  ...binary('Div', (g, a, b) => g.div(a, b), away),
  ...binary('Pow', (g, a, b) => g.pow(a, b), away),
  ...binary('Min', (g, a, b) => g.min(a, b)),
  ...binary('Max', (g, a, b) => g.max(a, b)),
  ...binary('Add of whole numbers', (g, a, b) => g.add(a, b), few),
  ...binary('Equal', (g, a, b) => g.equal(a, b), few),
  ...binary('Greater', (g, a, b) => g.greater(a, b)),
  ...binary('GreaterOrEqual', (g, a, b) => g.greaterOrEqual(a, b), few),
  ...binary('Less', (g, a, b) => g.less(a, b)),
  ...binary('LessOrEqual', (g, a, b) => g.lessOrEqual(a, b), few),
  ...binary('And', (g, a, b) => g.and(a, b), bits),
  ...binary('Or', (g, a, b) => g.or(a, b), bits),
  { title: 'Not', build: (k) => [k.g.not(k.bits(['batch', k.n]))] },
  {
    title: 'Div of whole numbers, which truncates',
    build: (k) => [k.g.div(k.whole(['batch', 3], -9, 10), k.whole([3], 1, 4))],
  },
  {
    title: 'Pow with a constant exponent and negative base',
    build: (k) => [k.g.pow(k.float(['batch', k.n]), 3)],
  },
  {
    title: 'Where, all three broadcast',
    build: (k) => {
      const condition = k.bits(['batch', 1, 'pos']);
      return [k.g.where(condition, k.float([3, 'pos']), k.float(['batch', 3, 1]))];
    },
  },
  {
    title: 'Where with a number',
    build: (k) => [k.g.where(k.bits(['pos', 'pos']), k.float(['batch', 'pos', 'pos']), -1e4)],
  },
  {
    title: 'Cast to whole numbers and back',
    build: (k) => {
      const whole = k.g.cast(k.float(['batch', 3], { low: -5, high: 5 }), 'i64');
      return [whole, k.g.cast(whole, 'f32'), k.g.cast(whole, 'i32')];
    },
  },
  {
    title: 'Cast to and from truth values',
    build: (k) => {
      const bits = k.bits(['batch', 3]);
      const numbers = k.g.cast(bits, 'f32');
      return [numbers, k.g.cast(bits, 'i64'), k.g.cast(numbers, 'bool')];
    },
  },
  {
    title: 'Cast to half precision and back',
    // Between 1 and 2 halves are 1e-3 apart: a small step of a central difference stays on its stair.
    build: (k) => [k.g.cast(k.g.cast(k.float(['batch', 3], { low: 1, high: 2 }), 'f16'), 'f32')],
  },
];
