import type { OpCase } from './case-kit.ts';

export const indexCases: readonly OpCase[] = [
  {
    title: 'Gather of rows, as an embedding does',
    build: (k) => [k.g.gather(k.float([5, 3]), k.whole(['batch', 'pos'], 0, 5))],
  },
  {
    title: 'Gather with negative indices along any axis',
    build: (k) => [k.g.gather(k.float([4, 4, 4]), k.whole(['pos'], -4, 4), { axis: k.axis(3) })],
  },
  {
    title: 'Gather of a matrix of places from an inner axis',
    build: (k) => [k.g.gather(k.float(['batch', 5, 2]), k.whole([2, 'pos'], 0, 5), { axis: 1 })],
  },
  {
    title: 'Gather of one place',
    build: (k) => [k.g.gather(k.float(['batch', 5, 2]), k.g.constant(3, 'i64'), { axis: 1 })],
  },
  {
    title: 'Gather from a symbolic axis',
    build: (k) => [k.g.gather(k.float(['pos', 3]), k.whole(['batch'], 0, 1))],
  },
  {
    title: 'GatherElements, one a line',
    build: (k) => {
      const x = k.float(['batch', 'pos', 5]);
      return [k.g.gatherElements(x, k.whole(['batch', 'pos', 1], 0, 5), { axis: -1 })];
    },
  },
  {
    title: 'GatherElements with repeats',
    build: (k) => {
      const x = k.float(['batch', 3, 'pos']);
      return [k.g.gatherElements(x, k.whole(['batch', 4, 'pos'], -3, 3), { axis: 1 })];
    },
  },
  {
    title: 'ScatterElements',
    build: (k) => {
      const [x, updates] = [k.float(['batch', 5]), k.float(['batch', 3])];
      return [k.g.scatterElements(x, k.distinct(['batch', 3], 5), updates, { axis: 1 })];
    },
  },
  {
    title: 'ScatterElements that adds repeats',
    build: (k) => {
      const [x, updates] = [k.float(['batch', 3]), k.float(['batch', 4])];
      const indices = k.whole(['batch', 4], 0, 3);
      return [k.g.scatterElements(x, indices, updates, { axis: -1, reduction: 'add' })];
    },
  },
  {
    title: 'TopK',
    build: (k) => {
      const { values, indices } = k.g.topK(k.float(['batch', 5, 'pos']), 3, { axis: 1 });
      return [values, indices];
    },
  },
  {
    title: 'TopK, smallest, of a fed number',
    build: (k) => {
      const size = k.sizeInput('k', 2);
      const { values, indices } = k.g.topK(k.float(['batch', 6]), size, { largest: false });
      return [values, indices];
    },
  },
  {
    title: 'TopK of equal numbers, the lower index first',
    build: (k) => {
      const { values, indices } = k.g.topK(k.g.cast(k.whole(['batch', 8], 0, 3), 'f32'), 6);
      return [values, indices];
    },
  },
  {
    title: 'OneHot, also of indices outside',
    build: (k) => [k.g.oneHot(k.whole(['batch', 3], -6, 7), 4, { axis: k.axis(3) })],
  },
  {
    title: 'OneHot of a symbolic depth',
    build: (k) => {
      const x = k.float(['pos', 2]);
      return [k.g.oneHot(k.whole(['batch'], 0, 3), 'pos'), x];
    },
  },
];
