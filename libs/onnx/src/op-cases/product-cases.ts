import type { Dim } from '../dims.ts';
import type { OpCase } from './case-kit.ts';

function matMul(how: string, a: readonly Dim[], b: readonly Dim[]): OpCase {
  return { title: `MatMul ${how}`, build: (k) => [k.g.matMul(k.float(a), k.float(b))] };
}

function einsum(equation: string, ...shapes: readonly (readonly Dim[])[]): OpCase {
  return {
    title: `Einsum ${equation}`,
    build: (k) => [k.g.einsum(equation, ...shapes.map((shape) => k.float(shape)))],
  };
}

function gemm(transA: boolean, transB: boolean, c: readonly Dim[] | undefined): OpCase {
  const turned = `${transA ? ' Aᵀ' : ' A'}${transB ? ' Bᵀ' : ' B'}`;
  return {
    title: `Gemm${turned}${c ? ` + C [${c}]` : ''}`,
    build: (k) => {
      const a = k.float(transA ? [3, 'pos'] : ['pos', 3]);
      const b = k.float(transB ? [4, 3] : [3, 4]);
      return [k.g.gemm(a, b, { transA, transB, ...(c ? { c: k.float(c) } : {}) })];
    },
  };
}

export const productCases: readonly OpCase[] = [
  matMul('of matrices', ['pos', 3], [3, 4]),
  matMul('with a weight', ['batch', 'pos', 3], [3, 4]),
  matMul('of a weight with a batch', ['pos', 3], ['batch', 3, 4]),
  matMul('batch by batch', ['batch', 2, 'query_pos', 3], ['batch', 2, 3, 'key_pos']),
  matMul('with one batch for all', ['batch', 2, 'pos', 3], [1, 2, 3, 4]),
  matMul('both broadcast', [2, 1, 'pos', 3], ['batch', 3, 2]),
  ...[false, true].flatMap((transA) =>
    [false, true].flatMap((transB) => [
      gemm(transA, transB, undefined),
      gemm(transA, transB, [4]),
      gemm(transA, transB, ['pos', 1]),
      gemm(transA, transB, ['pos', 4]),
    ]),
  ),
  ...[false, true].map(
    (transW): OpCase => ({
      title: `linear${transW ? ', weight [out, in]' : ''}`,
      build: (k) => {
        const W = k.float(transW ? [4, 3] : [3, 4]);
        return [k.g.linear(k.float(['batch', 'pos', 3]), W, { bias: k.float([4]), transW })];
      },
    }),
  ),
  einsum('bqhd,bkhd->bhqk', ['batch', 'query_pos', 2, 3], ['batch', 'key_pos', 2, 3]),
  einsum('bpm,hmd->bphd', ['batch', 'pos', 3], [2, 3, 4]),
  einsum('bhqk,bkhd->bqhd', ['batch', 2, 'query_pos', 'key_pos'], ['batch', 'key_pos', 2, 3]),
  einsum('ij->ji', ['batch', 3]),
  einsum('ij->i', ['batch', 3]),
  einsum('ijk,k->j', ['batch', 3, 'pos'], ['pos']),
  einsum('i,j->ij', ['batch'], [3]),
  einsum('ij,ij->', ['batch', 3], ['batch', 3]),
  einsum('ij,jk,kl->il', ['batch', 2], [2, 'pos'], ['pos', 3]),
];
