import type { Dim } from '../dims.ts';
import type { Value } from '../graph.ts';
import { eachLine, filled, type NdArray } from '../interpret/nd-array.ts';
import {
  type Backward,
  expects,
  expectsFloat,
  float,
  type Gradient,
  int,
  normalAxis,
  type OpRule,
} from './rule.ts';

/** Gradient by x, for a function of the lines along one axis; `sum` is over that axis. */
type LineGradient = (
  b: Backward & { readonly y: Value; readonly sum: (value: Value) => Value },
) => Value;

function alongAxis(line: (x: Float64Array) => Float64Array, lineGradient: LineGradient): OpRule {
  return {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      normalAxis(int(attributes, 'axis', -1), inputs[0].shape.length);
      return [{ dtype: 'f32', shape: inputs[0].shape }];
    },
    interpret: ([x], attributes) => {
      const axis = normalAxis(int(attributes, 'axis', -1), x.shape.length);
      return [lineByLine(x, axis, line)];
    },
    gradient: (b) => {
      const axes = [int(b.attributes, 'axis', -1)];
      const sum = (value: Value) => b.g.reduceSum(value, { axes });
      return [() => lineGradient({ ...b, y: b.outputs[0], sum })];
    },
  };
}

function lineByLine(x: NdArray, axis: number, line: (x: Float64Array) => Float64Array): NdArray {
  const out = filled('f32', x.shape);
  eachLine(x.shape, axis, (start, step, along) => {
    const values = new Float64Array(along);
    for (let i = 0; i < along; i++) values[i] = x.data[start + i * step];
    const result = line(values);
    for (let i = 0; i < along; i++) out.data[start + i * step] = result[i];
  });
  return out;
}

function softmax(x: Float64Array): Float64Array {
  const top = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = x.map((n) => Math.exp(n - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

function logSoftmax(x: Float64Array): Float64Array {
  const top = x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const total = x.reduce((sum, n) => sum + Math.exp(n - top), 0);
  return x.map((n) => n - top - Math.log(total));
}

function standardized(x: Float64Array, epsilon: number): Float64Array {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const variance = x.reduce((sum, n) => sum + (n - mean) ** 2, 0) / x.length;
  return x.map((n) => (n - mean) / Math.sqrt(variance + epsilon));
}

function sameDims(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

/**
 * With n = (x − mean) / σ and dn = dy · scale: dx = (dn − mean(dn) − n · mean(dn · n)) / σ, dscale = dy · n, dbias = dy. Ba et al. 2016.
 */
const layerNormalizationGradient: Gradient = ({ g, dy, inputs: [x, scale], attributes }) => {
  const mean = (value: Value) => g.reduceMean(value, { axes: [-1] });
  const centred = () => g.sub(x, mean(x));
  const spread = (value: Value) =>
    g.sqrt(g.add(mean(g.mul(value, value)), float(attributes, 'epsilon', 1e-5)));
  return [
    () => {
      const offset = centred();
      const sigma = spread(offset);
      const n = g.div(offset, sigma);
      const dn = g.mul(dy, scale);
      const tangent = g.sub(g.sub(dn, mean(dn)), g.mul(n, mean(g.mul(dn, n))));
      return g.div(tangent, sigma);
    },
    () => {
      const offset = centred();
      return g.mul(dy, g.div(offset, spread(offset)));
    },
    () => dy,
  ];
};

export const nnOps = {
  Softmax: alongAxis(softmax, ({ g, y, dy, sum }) => g.mul(y, g.sub(dy, sum(g.mul(dy, y))))),
  LogSoftmax: alongAxis(logSoftmax, ({ g, y, dy, sum }) => g.sub(dy, g.mul(g.exp(y), sum(dy)))),
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
    interpret: ([x, scale, bias], attributes) => {
      const epsilon = float(attributes, 'epsilon', 1e-5);
      return [
        lineByLine(x, x.shape.length - 1, (values) =>
          standardized(values, epsilon).map((n, i) => n * scale.data[i] + (bias?.data[i] ?? 0)),
        ),
      ];
    },
    gradient: layerNormalizationGradient,
  },
} satisfies Record<string, OpRule>;
