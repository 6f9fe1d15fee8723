import { narrowF16, widenF16 } from '@heddle/tensor';
import { map2, map3 } from '../interpret/map-broadcast.ts';
import { mapped, ndArray } from '../interpret/nd-array.ts';
import {
  broadcast,
  expects,
  expectsSameDType,
  isFloat,
  type OpRule,
  refuse,
  text,
  truthValue,
} from './rule.ts';

function comparison(f: (a: number, b: number) => boolean): OpRule {
  return {
    infer: ({ inputs }) => {
      expectsSameDType(inputs);
      return [{ dtype: 'bool', shape: broadcast(inputs) }];
    },
    interpret: ([a, b]) => [map2(a, b, 'bool', (x, y) => (f(x, y) ? 1 : 0))],
    gradient: truthValue,
  };
}

function logical(f: (a: boolean, b: boolean) => boolean): OpRule {
  return {
    infer: ({ inputs }) => {
      for (const { dtype } of inputs) expects(dtype === 'bool', `an input is ${dtype}, not bool`);
      return [{ dtype: 'bool', shape: broadcast(inputs) }];
    },
    interpret: ([a, b]) => [map2(a, b, 'bool', (x, y) => (f(x === 1, y === 1) ? 1 : 0))],
    gradient: truthValue,
  };
}

/** What Cast offers. bf16 is only ever read, from a checkpoint. */
const CASTS = ['f32', 'f16', 'i64', 'i32', 'bool'] as const;

/** Ops on truth values, and those that only choose or rename: Where, Identity, Cast. */
export const logicOps = {
  Equal: comparison((a, b) => a === b),
  Greater: comparison((a, b) => a > b),
  GreaterOrEqual: comparison((a, b) => a >= b),
  Less: comparison((a, b) => a < b),
  LessOrEqual: comparison((a, b) => a <= b),
  And: logical((a, b) => a && b),
  Or: logical((a, b) => a || b),
  Not: {
    infer: ({ inputs: [x] }) => {
      expects(x.dtype === 'bool', () => `the input is ${x.dtype}, not bool`);
      return [{ dtype: 'bool', shape: x.shape }];
    },
    interpret: ([x]) => [mapped(x, (bit) => 1 - bit)],
    gradient: truthValue,
  },
  Where: {
    infer: ({ inputs }) => {
      expects(inputs[0].dtype === 'bool', 'the condition is not bool');
      expectsSameDType(inputs.slice(1));
      return [{ dtype: inputs[1].dtype, shape: broadcast(inputs) }];
    },
    interpret: (inputs) => [map3(inputs, (condition, a, b) => (condition === 1 ? a : b))],
    gradient: ({ g, dy, inputs: [condition] }) => [
      undefined,
      () => g.where(condition, dy, 0),
      () => g.where(condition, 0, dy),
    ],
  },
  Identity: {
    infer: ({ inputs }) => [inputs[0]],
    interpret: ([x]) => [x],
    gradient: ({ dy }) => [() => dy],
  },
  /** To f32 nothing is rounded (this is fp64); to f16 it is, because that is what the caller will get. */
  Cast: {
    infer: ({ inputs, attributes }) => {
      const to = text(attributes, 'to', '');
      const dtype = CASTS.find((known) => known === to) ?? refuse(`cannot cast to "${to}"`);
      return [{ dtype, shape: inputs[0].shape }];
    },
    interpret: ([x], attributes) => {
      const to = text(attributes, 'to', '') as (typeof CASTS)[number];
      if (to === 'bool') return [mapped(x, (n) => (n === 0 ? 0 : 1), to)];
      if (to === 'f16') {
        const halves = widenF16(narrowF16(Float32Array.from(x.data)));
        return [ndArray(to, x.shape, Float64Array.from(halves))];
      }
      return [mapped(x, isFloat(to) ? (n) => n : Math.trunc, to)];
    },
    gradient: { notDifferentiable: 'stored halves and whole numbers are not trained' },
  },
} satisfies Record<string, OpRule>;
