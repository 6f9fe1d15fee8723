import type { ReduceOptions } from '../builder/reduce-methods.ts';
import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';
import type { OpCase } from './case-kit.ts';

type Reduction = (g: GraphBuilder, x: Value, options: ReduceOptions) => Value;

function reduction(title: string, op: Reduction): OpCase[] {
  return [true, false].flatMap((keepDims): OpCase[] => [
    {
      title: `${title} of one axis${keepDims ? ', kept' : ''}`,
      build: (k) => [op(k.g, k.float(['batch', 'pos', 3]), { axes: [k.axis(3)], keepDims })],
    },
    {
      title: `${title} of two axes${keepDims ? ', kept' : ''}`,
      build: (k) => [op(k.g, k.float(['batch', 'pos', 3]), { axes: [-1, 0], keepDims })],
    },
    {
      title: `${title} of all axes${keepDims ? ', kept' : ''}`,
      build: (k) => [op(k.g, k.float(['batch', k.n, 'pos']), { keepDims })],
    },
  ]);
}

const shape = ['batch', 3, 'pos'] as const;

export const axisCases: readonly OpCase[] = [
  ...reduction('ReduceSum', (g, x, o) => g.reduceSum(x, o)),
  ...reduction('ReduceMean', (g, x, o) => g.reduceMean(x, o)),
  ...reduction('ReduceMax', (g, x, o) => g.reduceMax(x, o)),
  ...reduction('ReduceMin', (g, x, o) => g.reduceMin(x, o)),
  ...reduction('ReduceSumSquare', (g, x, o) => g.reduceSumSquare(x, o)),
  ...reduction('ReduceL2', (g, x, o) => g.reduceL2(x, o)),
  ...reduction('ReduceLogSumExp', (g, x, o) => g.reduceLogSumExp(x, o)),
  ...[false, true].map(
    (keepDims) =>
      ({
        title: `ArgMax${keepDims ? ', kept' : ''}`,
        build: (k) => [k.g.argMax(k.float(shape), { axis: k.axis(3), keepDims })],
      }) satisfies OpCase,
  ),
  {
    title: 'ArgMax of equal numbers',
    build: (k) => [k.g.argMax(k.g.cast(k.whole(['batch', 6], 0, 2), 'f32'))],
  },
  ...[false, true].flatMap((exclusive) =>
    [false, true].map(
      (reverse): OpCase => ({
        title: `CumSum${exclusive ? ' exclusive' : ''}${reverse ? ' reverse' : ''}`,
        build: (k) => [k.g.cumSum(k.float(shape), { axis: k.axis(3), exclusive, reverse })],
      }),
    ),
  ),
  { title: 'Softmax', build: (k) => [k.g.softmax(k.float(shape), { axis: k.axis(3) })] },
  {
    title: 'Softmax of masked scores',
    build: (k) => {
      const scores = k.float(['batch', 'pos', 'pos']);
      const allowed = k.g.trilu(k.g.cast(k.g.constantOfShape(['pos', 'pos'], 1), 'bool'));
      return [k.g.softmax(k.g.where(allowed, scores, Number.NEGATIVE_INFINITY))];
    },
  },
  { title: 'LogSoftmax', build: (k) => [k.g.logSoftmax(k.float(shape), { axis: k.axis(3) })] },
  {
    title: 'LayerNormalization',
    build: (k) => {
      const [x, scale, bias] = [k.float(['batch', 'pos', 5]), k.float([5]), k.float([5])];
      return [k.g.layerNormalization(x, scale, bias, { epsilon: 1e-2 })];
    },
  },
  {
    title: 'LayerNormalization without bias',
    build: (k) => [
      k.g.layerNormalization(k.float(['pos', 4]), k.float([4]), undefined, { epsilon: 1e-5 }),
    ],
  },
  {
    title: 'RMS normalization',
    build: (k) => [
      k.g.rmsNormalization(k.float(['batch', 'pos', 5]), k.float([5]), { epsilon: 1e-2 }),
    ],
  },
];
