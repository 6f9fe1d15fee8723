import type { DType } from '@heddle/tensor';
import type { Value } from '../graph.ts';
import type { OpName } from '../ops/registry.ts';
import { GraphCore, type Operand } from './graph-core.ts';

/** Ops that work element by element. Two operands broadcast from the right, as numpy's; a number takes the other's type. */
export class ElementwiseMethods extends GraphCore {
  neg = (x: Value): Value => this.one('Neg', x);
  sqrt = (x: Value): Value => this.one('Sqrt', x);
  exp = (x: Value): Value => this.one('Exp', x);
  log = (x: Value): Value => this.one('Log', x);
  abs = (x: Value): Value => this.one('Abs', x);
  reciprocal = (x: Value): Value => this.one('Reciprocal', x);
  erf = (x: Value): Value => this.one('Erf', x);
  tanh = (x: Value): Value => this.one('Tanh', x);
  sigmoid = (x: Value): Value => this.one('Sigmoid', x);
  relu = (x: Value): Value => this.one('Relu', x);
  sin = (x: Value): Value => this.one('Sin', x);
  cos = (x: Value): Value => this.one('Cos', x);
  sign = (x: Value): Value => this.one('Sign', x);
  floor = (x: Value): Value => this.one('Floor', x);
  identity = (x: Value): Value => this.one('Identity', x);
  not = (x: Value): Value => this.one('Not', x);

  add = (a: Operand, b: Operand): Value => this.two('Add', a, b);
  sub = (a: Operand, b: Operand): Value => this.two('Sub', a, b);
  mul = (a: Operand, b: Operand): Value => this.two('Mul', a, b);
  div = (a: Operand, b: Operand): Value => this.two('Div', a, b);
  /** aᵇ; the gradient to b is defined for a > 0. */
  pow = (a: Operand, b: Operand): Value => this.two('Pow', a, b);
  min = (a: Operand, b: Operand): Value => this.two('Min', a, b);
  max = (a: Operand, b: Operand): Value => this.two('Max', a, b);
  equal = (a: Operand, b: Operand): Value => this.two('Equal', a, b);
  greater = (a: Operand, b: Operand): Value => this.two('Greater', a, b);
  greaterOrEqual = (a: Operand, b: Operand): Value => this.two('GreaterOrEqual', a, b);
  less = (a: Operand, b: Operand): Value => this.two('Less', a, b);
  lessOrEqual = (a: Operand, b: Operand): Value => this.two('LessOrEqual', a, b);
  and = (a: Value, b: Value): Value => this.two('And', a, b);
  or = (a: Value, b: Value): Value => this.two('Or', a, b);

  /** x Φ(x), by erf, or by the tanh approximation (`gelu_new` of GPT-2). */
  gelu(x: Value, options: { approximate?: 'none' | 'tanh' } = {}): Value {
    return this.emit('Gelu', [x], { approximate: options.approximate ?? 'none' })[0];
  }

  /** x σ(x): SiLU, also called swish. */
  silu(x: Value): Value {
    return this.mul(x, this.sigmoid(x));
  }

  clip(x: Value, low: number, high: number): Value {
    const [a, b] = [this.constant(low, x.dtype), this.constant(high, x.dtype)];
    return this.emit('Clip', [x, a, b], {})[0];
  }

  /** `condition` ? a : b, element by element. */
  where(condition: Value, a: Operand, b: Operand): Value {
    const [x, y] = this.operands(a, b);
    return this.emit('Where', [condition, x, y], {})[0];
  }

  cast(x: Value, to: DType): Value {
    return x.dtype === to ? x : this.emit('Cast', [x], { to })[0];
  }

  protected one(op: OpName, x: Value): Value {
    return this.emit(op, [x], {})[0];
  }

  protected two(op: OpName, a: Operand, b: Operand): Value {
    return this.emit(op, this.operands(a, b), {})[0];
  }

  private operands(a: Operand, b: Operand): readonly [Value, Value] {
    if (typeof a !== 'number' && typeof b !== 'number') return [a, b];
    if (typeof a !== 'number') return [a, this.constant(b as number, a.dtype)];
    if (typeof b !== 'number') return [this.constant(a, b.dtype), b];
    return [this.constant(a), this.constant(b)];
  }
}
