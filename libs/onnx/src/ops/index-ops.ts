import type { Dim } from '../dims.ts';
import {
  contentOf,
  expects,
  expectsFloat,
  expectsSameDType,
  expectsWhole,
  int,
  normalAxis,
  type OpRule,
  text,
} from './rule.ts';

function sameOutside(a: readonly Dim[], b: readonly Dim[], axis: number): void {
  expects(a.length === b.length, () => `ranks ${a.length} and ${b.length} differ`);
  a.forEach((n, i) => {
    // ONNX lets indices be shorter than the data on any axis; symbolic sizes have to be the same name.
    const fits = n === b[i] || (typeof n === 'number' && typeof b[i] === 'number' && b[i] <= n);
    expects(i === axis || fits, () => `axis ${i} is ${n} in the data, ${b[i]} in the indices`);
  });
}

export const index = {
  /** Inputs: data, indices; the indices' axes take the place of `axis`. */
  Gather: {
    infer: ({ inputs, attributes }) => {
      const [data, indices] = inputs;
      expectsWhole(indices, 'indices');
      const axis = normalAxis(int(attributes, 'axis', 0), data.shape.length);
      const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
      return [{ dtype: data.dtype, shape }];
    },
  },
  GatherElements: {
    infer: ({ inputs, attributes }) => {
      const [data, indices] = inputs;
      expectsWhole(indices, 'indices');
      sameOutside(
        data.shape,
        indices.shape,
        normalAxis(int(attributes, 'axis', 0), data.shape.length),
      );
      return [{ dtype: data.dtype, shape: indices.shape }];
    },
  },
  /** Inputs: data, indices, updates. Indices must not repeat within a line, unless reduction is add. */
  ScatterElements: {
    infer: ({ inputs, attributes }) => {
      const [data, indices, updates] = inputs;
      expectsWhole(indices, 'indices');
      expectsSameDType([data, updates]);
      sameOutside(
        data.shape,
        indices.shape,
        normalAxis(int(attributes, 'axis', 0), data.shape.length),
      );
      expects(
        indices.shape.length === updates.shape.length &&
          indices.shape.every((n, i) => n === updates.shape[i]),
        'updates and indices have different shapes',
      );
      const reduction = text(attributes, 'reduction', 'none');
      expects(reduction === 'none' || reduction === 'add', `reduction "${reduction}"`);
      return [{ dtype: data.dtype, shape: data.shape }];
    },
  },
  /** Inputs: x, k. Outputs: values in descending order (ties: the lower index first), and their indices. */
  TopK: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs.slice(0, 1));
      const { shape: from } = inputs[0];
      const axis = normalAxis(int(attributes, 'axis', -1), from.length);
      const [k] = contentOf(inputs[1], 'k');
      const size = from[axis];
      expects(
        typeof k === 'string' || typeof size === 'string' || k <= size,
        () => `k ${k} is more than the ${size} elements of axis ${axis}`,
      );
      const shape = from.map((n, i) => (i === axis ? k : n));
      return [
        { dtype: 'f32', shape },
        { dtype: 'i64', shape },
      ];
    },
  },
  /** Inputs: indices, depth, [off, on]. */
  OneHot: {
    infer: ({ inputs, attributes }) => {
      const [indices, depth, values] = inputs;
      expectsWhole(indices, 'indices');
      const axis = normalAxis(int(attributes, 'axis', -1), indices.shape.length + 1);
      const [size] = contentOf(depth, 'depth');
      const shape = [...indices.shape.slice(0, axis), size, ...indices.shape.slice(axis)];
      return [{ dtype: values.dtype, shape }];
    },
  },
} satisfies Record<string, OpRule>;
