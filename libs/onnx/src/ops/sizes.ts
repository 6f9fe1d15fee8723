import type { DType } from '@heddle/tensor';
import { productOfDims, subtractDims } from '../dims.ts';
import type { Attributes } from '../graph.ts';
import { filled, ndArray, walk } from '../interpret/nd-array.ts';
import {
  contentOf,
  expects,
  expectsWhole,
  int,
  type OpRule,
  onlySizes,
  wholeContentOf,
} from './rule.ts';

function fillOf(attributes: Attributes): { fill: number; dtype: DType } {
  const value = attributes['value'];
  expects(typeof value === 'object' && 'fill' in value, 'no value');
  return value as { fill: number; dtype: DType };
}

/** Ops that read sizes, or make tensors from sizes alone. */
export const sizeOps = {
  /** start, limit, delta: i64 scalars with known content; delta is 1 where a bound is symbolic. */
  Range: {
    gradient: onlySizes,
    infer: ({ inputs }) => {
      for (const input of inputs) expectsWhole(input, 'a bound');
      const [start, limit, delta] = inputs.map((input) => contentOf(input, 'a bound')[0]);
      if (typeof start === 'number' && typeof limit === 'number' && typeof delta === 'number') {
        expects(delta !== 0, 'delta is 0');
        return [{ dtype: 'i64', shape: [Math.max(0, Math.ceil((limit - start) / delta))] }];
      }
      expects(delta === 1, 'a delta over a symbolic size');
      return [{ dtype: 'i64', shape: [subtractDims(limit, start)] }];
    },
    interpret: (inputs) => {
      const [start, limit, delta] = inputs.map(({ data }) => data[0]);
      const length = Math.max(0, Math.ceil((limit - start) / delta));
      const data = Float64Array.from({ length }, (_, i) => start + i * delta);
      return [ndArray('i64', [length], data)];
    },
  },
  Shape: {
    gradient: onlySizes,
    infer: ({ inputs, attributes }) => {
      const from = inputs[0].shape;
      const start = int(attributes, 'start', 0);
      const content = from.slice(start, int(attributes, 'end', from.length));
      return [{ dtype: 'i64', shape: [content.length], content }];
    },
    interpret: ([x], attributes) => {
      const start = int(attributes, 'start', 0);
      const sizes = x.shape.slice(start, int(attributes, 'end', x.shape.length));
      return [ndArray('i64', [sizes.length], Float64Array.from(sizes))];
    },
  },
  Size: {
    gradient: onlySizes,
    infer: ({ inputs }) => [{ dtype: 'i64', shape: [], content: [productOfDims(inputs[0].shape)] }],
    interpret: ([x]) => [filled('i64', [], x.data.length)],
  },
  ConstantOfShape: {
    gradient: onlySizes,
    infer: ({ inputs, attributes }) => [
      { dtype: fillOf(attributes).dtype, shape: contentOf(inputs[0], 'the shape') },
    ],
    interpret: ([sizes], attributes) => {
      const { fill, dtype } = fillOf(attributes);
      return [filled(dtype, [...sizes.data], fill)];
    },
  },
  /** Lower (upper = 0) or upper triangle of the last two axes, from diagonal k on. Inputs: x and k. */
  Trilu: {
    gradient: ({ g, dy, inputs: [, k], attributes }) => {
      const options = { upper: int(attributes, 'upper', 1) === 1, k: wholeContentOf(k, 'k')[0] };
      return [() => g.trilu(dy, options), undefined];
    },
    infer: ({ inputs }) => {
      const [{ dtype, shape: from }, k] = inputs;
      expects(from.length >= 2, 'x has fewer than 2 axes');
      wholeContentOf(k, 'k');
      return [{ dtype, shape: from }];
    },
    interpret: ([x, k], attributes) => {
      const upper = int(attributes, 'upper', 1) === 1;
      const [row, column] = [x.shape.length - 2, x.shape.length - 1];
      // Strides that count rows and columns give each place its distance from the diagonal.
      const diagonal = x.shape.map((_, axis) => (axis === column ? 1 : axis === row ? -1 : 0));
      const out = filled(x.dtype, x.shape);
      walk(x.shape, [diagonal], ([above], place) => {
        const kept = upper ? above >= k.data[0] : above <= k.data[0];
        out.data[place] = kept ? x.data[place] : 0;
      });
      return [out];
    },
  },
} satisfies Record<string, OpRule>;
