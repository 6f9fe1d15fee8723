import type { Dim } from '../dims.ts';
import { expects, expectsFloat, int, normalAxis, type OpRule } from './rule.ts';

function alongAxis(): OpRule {
  return {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      normalAxis(int(attributes, 'axis', -1), inputs[0].shape.length);
      return [{ dtype: 'f32', shape: inputs[0].shape }];
    },
  };
}

function sameDims(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

export const nn = {
  Softmax: alongAxis(),
  LogSoftmax: alongAxis(),
  /** Over the last axis only: what every model here does. Inputs: x, scale and, if given, bias. */
  LayerNormalization: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const [{ shape }, ...affine] = inputs;
      expects(int(attributes, 'axis', -1) === -1, 'axis has to be -1');
      expects(shape.length >= 1, 'x is a scalar');
      for (const input of affine) {
        expects(sameDims(input.shape, shape.slice(-1)), 'scale or bias is not as long as x');
      }
      return [{ dtype: 'f32', shape }];
    },
  },
} satisfies Record<string, OpRule>;
