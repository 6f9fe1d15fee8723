import { ShapeMethods } from './builder/shape-methods.ts';
import type { Dim } from './dims.ts';
import type { Value } from './graph.ts';

/**
 * Builds one ONNX graph, op by op, under the names of the thing it computes. Types and shapes are inferred as it is written,
 * so that a graph that cannot be fails on the line that is wrong.
 */
export class GraphBuilder extends ShapeMethods {
  /** Batched matrix product of the last two axes; the axes before them broadcast. */
  matMul(a: Value, b: Value): Value {
    return this.emit('MatMul', [a, b], {})[0];
  }

  /** A B + C for matrices, A and B transposed on request; C broadcasts. HuggingFace's Linear weights are `transB`. */
  gemm(a: Value, b: Value, options: { transA?: boolean; transB?: boolean; c?: Value } = {}): Value {
    const { transA = false, transB = false, c } = options;
    const inputs = c === undefined ? [a, b] : [a, b, c];
    return this.emit('Gemm', inputs, { transA: transA ? 1 : 0, transB: transB ? 1 : 0 })[0];
  }

  /**
   * x W + b over the last axis, whatever axes stand before it: one Gemm on x flattened, which is free. W has a row for
   * each input, or with `transW` one for each output (HuggingFace's Linear).
   */
  linear(x: Value, W: Value, options: { bias?: Value; transW?: boolean } = {}): Value {
    const { bias, transW = false } = options;
    const width = W.shape[transW ? 0 : 1];
    const rows = x.shape.length === 2 ? x : this.reshape(x, [-1, x.shape.at(-1) as Dim]);
    const product = this.gemm(rows, W, { transB: transW, ...(bias ? { c: bias } : {}) });
    return x.shape.length === 2 ? product : this.reshape(product, [...x.shape.slice(0, -1), width]);
  }

  /** Einstein's sum: `einsum('bqhd,bkhd->bhqk', q, k)`. The result's letters are spelt out; no ellipsis, no diagonals. */
  einsum(equation: string, ...inputs: readonly Value[]): Value {
    return this.emit('Einsum', inputs, { equation })[0];
  }

  /** Slices of `data` along `axis` at `indices` (i64, any shape, negative ones from the end), in the place of that axis. */
  gather(data: Value, indices: Value, options: { axis?: number } = {}): Value {
    return this.emit('Gather', [data, indices], { axis: options.axis ?? 0 })[0];
  }

  /** out[i][j] = data[i][indices[i][j]] for axis 1, and so on. */
  gatherElements(data: Value, indices: Value, options: { axis: number }): Value {
    return this.emit('GatherElements', [data, indices], { axis: options.axis })[0];
  }

  /** `data` with `updates` written at `indices` along `axis`. Without `add`, indices of one line must differ. */
  scatterElements(
    data: Value,
    indices: Value,
    updates: Value,
    options: { axis: number; reduction?: 'none' | 'add' },
  ): Value {
    const { axis, reduction = 'none' } = options;
    return this.emit('ScatterElements', [data, indices, updates], { axis, reduction })[0];
  }

  /** The k largest (or smallest) along `axis`, sorted, of equal ones the lower index first, and where they were. */
  topK(
    x: Value,
    k: Dim,
    options: { axis?: number; largest?: boolean } = {},
  ): { readonly values: Value; readonly indices: Value } {
    const { axis = -1, largest = true } = options;
    const attributes = { axis, largest: largest ? 1 : 0, sorted: 1 };
    const [values, indices] = this.emit('TopK', [x, this.dims([k])], attributes);
    return { values, indices };
  }

  /** f32 1 where the new axis' place is the index, else 0; an index outside [-depth, depth) gives zeros. */
  oneHot(indices: Value, depth: Dim, options: { axis?: number } = {}): Value {
    const offOn = this.constant([0, 1], 'f32');
    return this.emit('OneHot', [indices, this.dims([depth]), offOn], {
      axis: options.axis ?? -1,
    })[0];
  }
}
