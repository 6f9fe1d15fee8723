import {
  broadcast,
  type Call,
  expects,
  expectsFloat,
  expectsSameDType,
  type OpRule,
  refuse,
  text,
} from './rule.ts';

/** f32 in, f32 out, same shape. */
function unary(): OpRule {
  return {
    infer: ({ inputs }) => {
      expectsFloat(inputs);
      return [{ dtype: 'f32', shape: inputs[0].shape }];
    },
  };
}

/** Two numbers of one type, broadcast. */
function arithmetic(): OpRule {
  return {
    infer: ({ inputs }: Call) => {
      expectsSameDType(inputs);
      expects(inputs[0].dtype !== 'bool', 'inputs are bool');
      return [{ dtype: inputs[0].dtype, shape: broadcast(inputs) }];
    },
  };
}

function comparison(): OpRule {
  return {
    infer: ({ inputs }) => {
      expectsSameDType(inputs);
      return [{ dtype: 'bool', shape: broadcast(inputs) }];
    },
  };
}

function logical(): OpRule {
  return {
    infer: ({ inputs }) => {
      for (const { dtype } of inputs) expects(dtype === 'bool', `an input is ${dtype}, not bool`);
      return [{ dtype: 'bool', shape: broadcast(inputs) }];
    },
  };
}

export const CASTS = ['f32', 'f16', 'bf16', 'i64', 'i32', 'bool'] as const;

export const elementwise = {
  Neg: unary(),
  Sqrt: unary(),
  Exp: unary(),
  Log: unary(),
  Abs: unary(),
  Reciprocal: unary(),
  Erf: unary(),
  Tanh: unary(),
  Sigmoid: unary(),
  Relu: unary(),
  Gelu: unary(),
  Sin: unary(),
  Cos: unary(),
  Sign: unary(),
  Floor: unary(),
  Add: arithmetic(),
  Sub: arithmetic(),
  Mul: arithmetic(),
  Div: arithmetic(),
  Pow: arithmetic(),
  Min: arithmetic(),
  Max: arithmetic(),
  Clip: {
    infer: ({ inputs }) => {
      expectsSameDType(inputs);
      expects(inputs[1].shape.length === 0 && inputs[2].shape.length === 0, 'bounds not scalar');
      return [{ dtype: inputs[0].dtype, shape: inputs[0].shape }];
    },
  },
  Equal: comparison(),
  Greater: comparison(),
  GreaterOrEqual: comparison(),
  Less: comparison(),
  LessOrEqual: comparison(),
  And: logical(),
  Or: logical(),
  Not: logical(),
  Where: {
    infer: ({ inputs }) => {
      expects(inputs[0].dtype === 'bool', 'the condition is not bool');
      expectsSameDType(inputs.slice(1));
      return [{ dtype: inputs[1].dtype, shape: broadcast(inputs) }];
    },
  },
  Identity: { infer: ({ inputs }) => [inputs[0]] },
  Cast: {
    infer: ({ inputs, attributes }) => {
      const to = text(attributes, 'to', '');
      const dtype = CASTS.find((known) => known === to) ?? refuse(`cannot cast to "${to}"`);
      return [{ dtype, shape: inputs[0].shape }];
    },
  },
} satisfies Record<string, OpRule>;
