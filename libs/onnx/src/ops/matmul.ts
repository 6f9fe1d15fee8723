import { broadcastDims, type Dim } from '../dims.ts';
import type { Value } from '../graph.ts';
import { map2 } from '../interpret/map-broadcast.ts';
import { type NdArray, transposed } from '../interpret/nd-array.ts';
import { matrixProduct } from '../interpret/product.ts';
import { expects, expectsFloat, type Gradient, int, type OpRule, refuse } from './rule.ts';

const flipped = (x: NdArray): NdArray => transposed(x, [1, 0]);

/** da = dy bᵀ, db = aᵀ dy. For a weight matrix, all rows of all batches are one product: no sum over batches is left to do. */
const matMulGradient: Gradient = ({ g, dy, inputs: [a, b] }) => {
  const turned = (x: Value) => {
    const axes = x.shape.map((_, i) => i);
    return g.transpose(x, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]);
  };
  const rows = (x: Value) =>
    x.shape.length === 2 ? x : g.reshape(x, [-1, x.shape[x.shape.length - 1]]);
  return [
    () => g.matMul(dy, turned(b)),
    () =>
      b.shape.length === 2 ? g.gemm(rows(a), rows(dy), { transA: true }) : g.matMul(turned(a), dy),
  ];
};

export const matmulOps = {
  MatMul: {
    infer: ({ inputs }) => {
      expectsFloat(inputs);
      const [a, b] = inputs.map(({ shape }) => shape);
      expects(a.length >= 2 && b.length >= 2, 'an input has fewer than 2 axes');
      expects(a.at(-1) === b.at(-2), () => `inner sizes ${a.at(-1)} and ${b.at(-2)} differ`);
      const batch =
        broadcastDims(a.slice(0, -2), b.slice(0, -2)) ?? refuse('leading axes do not broadcast');
      return [{ dtype: 'f32', shape: [...batch, a.at(-2) as Dim, b.at(-1) as Dim] }];
    },
    interpret: ([a, b]) => [matrixProduct(a, b)],
    gradient: matMulGradient,
  },
  Gemm: {
    infer: ({ inputs, attributes }) => {
      expectsFloat(inputs);
      const [a, b] = inputs.map(({ shape }) => shape);
      expects(a.length === 2 && b.length === 2, 'A and B need 2 axes each');
      const [rows, innerA] = int(attributes, 'transA', 0) ? [a[1], a[0]] : a;
      const [innerB, columns] = int(attributes, 'transB', 0) ? [b[1], b[0]] : b;
      expects(innerA === innerB, () => `inner sizes ${innerA} and ${innerB} differ`);
      const shape = [rows, columns];
      if (inputs.length === 3) {
        const sum = broadcastDims(inputs[2].shape, shape);
        expects(
          sum !== undefined && sum.length === 2 && sum.every((n, i) => n === shape[i]),
          'C does not broadcast to the product',
        );
      }
      return [{ dtype: 'f32', shape }];
    },
    interpret: ([a, b, c], attributes) => {
      const left = int(attributes, 'transA', 0) ? flipped(a) : a;
      const right = int(attributes, 'transB', 0) ? flipped(b) : b;
      const product = matrixProduct(left, right);
      return [c === undefined ? product : map2(product, c, 'f32', (x, y) => x + y)];
    },
    gradient: ({ g, dy, inputs: [a, b], attributes }) => {
      const transA = int(attributes, 'transA', 0) === 1;
      const transB = int(attributes, 'transB', 0) === 1;
      return [
        () =>
          transA
            ? g.gemm(b, dy, { transA: transB, transB: true })
            : g.gemm(dy, b, { transB: !transB }),
        () =>
          transB
            ? g.gemm(dy, a, { transA: true, transB: transA })
            : g.gemm(a, dy, { transA: !transA }),
        () => dy,
      ];
    },
  },
} satisfies Record<string, OpRule>;
