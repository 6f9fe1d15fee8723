import { invalidArgument } from '@heddle/core';
import type { Dim } from '../dims.ts';
import type { Attributes } from '../graph.ts';
import {
  aroundAxis,
  filled,
  type NdArray,
  ndArray,
  stridesOf,
  walk,
} from '../interpret/nd-array.ts';
import {
  contentOf,
  expects,
  expectsSameDType,
  expectsWhole,
  int,
  normalAxis,
  type OpRule,
  text,
} from './rule.ts';
import { scatterRows } from './scatter-rows.ts';

function axisOf(attributes: Attributes, rank: number): number {
  return normalAxis(int(attributes, 'axis', 0), rank);
}

function sameOutside(a: readonly Dim[], b: readonly Dim[], axis: number): void {
  expects(a.length === b.length, () => `ranks ${a.length} and ${b.length} differ`);
  a.forEach((n, i) => {
    // ONNX lets indices be shorter than the data on any axis, and so do we where both are numbers.
    const inside = typeof n === 'number' && typeof b[i] === 'number' && b[i] <= n;
    const fits = i === axis || n === b[i] || inside;
    expects(fits, () => `axis ${i} is ${n} in the data, ${b[i]} in the indices`);
  });
}

/** An index counted from the front. Which index comes is data, so one outside is an operating error. */
function indexInto(size: number, index: number, op: string): number {
  if (index >= -size && index < size) return index < 0 ? index + size : index;
  throw invalidArgument(`${op}: index ${index} is outside [-${size}, ${size})`);
}

function gathered(data: NdArray, indices: NdArray, axis: number): NdArray {
  const { before, along, after } = aroundAxis(data.shape, axis);
  const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
  const out = filled(data.dtype, shape);
  let to = 0;
  for (let b = 0; b < before; b++) {
    for (const index of indices.data) {
      const from = (b * along + indexInto(along, index, 'Gather')) * after;
      out.data.set(data.data.subarray(from, from + after), to);
      to += after;
    }
  }
  return out;
}

/** For every place of the indices, the offset in the data of the place that it points to. */
function eachPointed(
  data: NdArray,
  indices: NdArray,
  axis: number,
  visit: (pointed: number, place: number) => void,
): void {
  const strides = stridesOf(data.shape);
  const others = strides.map((step, i) => (i === axis ? 0 : step));
  walk(indices.shape, [others], ([base], place) => {
    const index = indexInto(data.shape[axis], indices.data[place], 'an element index');
    visit(base + index * strides[axis], place);
  });
}

/** Ops that read and write at indices. */
export const gatherOps = {
  /** Inputs: data, indices; the indices' axes take the place of `axis`. */
  Gather: {
    infer: ({ inputs, attributes }) => {
      const [data, indices] = inputs;
      expectsWhole(indices, 'indices');
      const axis = axisOf(attributes, data.shape.length);
      const shape = [...data.shape.slice(0, axis), ...indices.shape, ...data.shape.slice(axis + 1)];
      return [{ dtype: data.dtype, shape }];
    },
    interpret: ([data, indices], attributes) => [
      gathered(data, indices, axisOf(attributes, data.shape.length)),
    ],
    gradient: ({ g, dy, inputs: [data, indices], attributes }) => {
      const axis = axisOf(attributes, data.shape.length);
      return [() => scatterRows(g, dy, indices, { axis, size: data.shape[axis] }), undefined];
    },
  },
  GatherElements: {
    infer: ({ inputs, attributes }) => {
      const [data, indices] = inputs;
      expectsWhole(indices, 'indices');
      sameOutside(data.shape, indices.shape, axisOf(attributes, data.shape.length));
      return [{ dtype: data.dtype, shape: indices.shape }];
    },
    interpret: ([data, indices], attributes) => {
      const out = filled(data.dtype, indices.shape);
      eachPointed(data, indices, axisOf(attributes, data.shape.length), (pointed, place) => {
        out.data[place] = data.data[pointed];
      });
      return [out];
    },
    /** One index a line cannot repeat, and is written; several are added. */
    gradient: ({ g, dy, inputs: [data, indices], attributes }) => {
      const axis = axisOf(attributes, data.shape.length);
      const reduction = indices.shape[axis] === 1 ? 'none' : 'add';
      const scatter = () => g.scatterElements(g.zerosLike(data), indices, dy, { axis, reduction });
      return [scatter, undefined];
    },
  },
  /** Inputs: data, indices, updates. Indices must not repeat within a line, unless the reduction is add. */
  ScatterElements: {
    infer: ({ inputs, attributes }) => {
      const [data, indices, updates] = inputs;
      expectsWhole(indices, 'indices');
      expectsSameDType([data, updates]);
      sameOutside(data.shape, indices.shape, axisOf(attributes, data.shape.length));
      expects(
        indices.shape.length === updates.shape.length &&
          indices.shape.every((n, i) => n === updates.shape[i]),
        'updates and indices have different shapes',
      );
      const reduction = text(attributes, 'reduction', 'none');
      expects(reduction === 'none' || reduction === 'add', `reduction "${reduction}"`);
      return [{ dtype: data.dtype, shape: data.shape }];
    },
    interpret: ([data, indices, updates], attributes) => {
      const out = ndArray(data.dtype, data.shape, data.data.slice());
      const adds = text(attributes, 'reduction', 'none') === 'add';
      eachPointed(data, indices, axisOf(attributes, data.shape.length), (pointed, place) => {
        out.data[pointed] = updates.data[place] + (adds ? out.data[pointed] : 0);
      });
      return [out];
    },
    gradient: ({ g, dy, inputs: [, indices, updates], attributes }) => {
      const axis = int(attributes, 'axis', 0);
      const adds = text(attributes, 'reduction', 'none') === 'add';
      const kept = () => g.scatterElements(dy, indices, g.zerosLike(updates), { axis });
      return [adds ? () => dy : kept, undefined, () => g.gatherElements(dy, indices, { axis })];
    },
  },
  /** Inputs: indices, depth, and the two values: off, on. */
  OneHot: {
    infer: ({ inputs, attributes }) => {
      const [indices, depth, values] = inputs;
      expectsWhole(indices, 'indices');
      const axis = normalAxis(int(attributes, 'axis', -1), indices.shape.length + 1);
      const [size] = contentOf(depth, 'depth');
      const shape = [...indices.shape.slice(0, axis), size, ...indices.shape.slice(axis)];
      return [{ dtype: values.dtype, shape }];
    },
    interpret: ([indices, depth, values], attributes) => {
      const [size] = depth.data;
      const axis = normalAxis(int(attributes, 'axis', -1), indices.shape.length + 1);
      const shape = [...indices.shape.slice(0, axis), size, ...indices.shape.slice(axis)];
      const out = filled(values.dtype, shape, values.data[0]);
      const strides = stridesOf(shape);
      const others = strides.filter((_, i) => i !== axis);
      walk(indices.shape, [others], ([base], place) => {
        const index = indices.data[place] + (indices.data[place] < 0 ? size : 0);
        if (index >= 0 && index < size) out.data[base + index * strides[axis]] = values.data[1];
      });
      return [out];
    },
    gradient: { notDifferentiable: 'whole numbers in, constants out' },
  },
} satisfies Record<string, OpRule>;
