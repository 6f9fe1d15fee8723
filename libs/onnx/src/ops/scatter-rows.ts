import { type Dim, productOfDims } from '../dims.ts';
import type { Value } from '../graph.ts';
import type { GraphBuilder } from '../graph-builder.ts';

/**
 * The adjoint of Gather: rows of `dy` added up at `indices` of an axis of `size`, as a one-hot matrix product. Never a
 * scattered add: ONNX Runtime's ScatterND races on duplicate indices, and its ScatterElements is 80 times slower.
 */
export function scatterRows(
  g: GraphBuilder,
  dy: Value,
  indices: Value,
  { axis, size }: { readonly axis: number; readonly size: Dim },
): Value {
  const before = dy.shape.slice(0, axis);
  const after = dy.shape.slice(axis + indices.shape.length);
  const count = productOfDims(indices.shape);
  const width = productOfDims(after);
  const chosen = g.oneHot(g.reshape(indices, [-1]), size); // a row for each index
  if (axis === 0) {
    const rows = g.gemm(chosen, g.reshape(dy, [count, width]), { transA: true });
    return g.reshape(rows, [size, ...after]);
  }
  const rows = g.reshape(dy, [productOfDims(before), count, width]);
  return g.reshape(g.matMul(g.transpose(chosen), rows), [...before, size, ...after]);
}
