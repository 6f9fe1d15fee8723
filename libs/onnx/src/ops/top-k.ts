import { eachLine, filled } from '../interpret/nd-array.ts';
import { contentOf, expects, expectsFloat, int, normalAxis, type OpRule } from './rule.ts';

export const topKOps = {
  /** Inputs: x, k. Outputs: values in order (ties: the lower index first), and their indices. */
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
    interpret: ([x, kInput], attributes) => {
      const axis = normalAxis(int(attributes, 'axis', -1), x.shape.length);
      const [k] = kInput.data;
      const shape = x.shape.map((n, i) => (i === axis ? k : n));
      const [values, indices] = [filled('f32', shape), filled('i64', shape)];
      const sign = int(attributes, 'largest', 1) === 1 ? 1 : -1;
      const lines: number[] = [];
      eachLine(shape, axis, (start) => lines.push(start));
      let line = 0;
      eachLine(x.shape, axis, (start, step, along) => {
        const order = Array.from({ length: along }, (_, i) => i);
        const at = (i: number) => sign * x.data[start + i * step];
        order.sort((a, b) => at(b) - at(a) || a - b);
        for (let i = 0; i < k; i++) {
          values.data[lines[line] + i * step] = x.data[start + order[i] * step];
          indices.data[lines[line] + i * step] = order[i];
        }
        line++;
      });
      return [values, indices];
    },
    /** To the kept values, at their places; none through the choice. A line's indices differ, so that they are written. */
    gradient: ({ g, dy, inputs: [x], outputs: [, indices], attributes }) => {
      const axis = int(attributes, 'axis', -1);
      return [() => g.scatterElements(g.zerosLike(x), indices, dy, { axis }), undefined];
    },
  },
} satisfies Record<string, OpRule>;
