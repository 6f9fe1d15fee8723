import { createHash } from 'node:crypto';
import { encodeModel, type Graph } from '@heddle/onnx';
import type { Program } from '@heddle/ports';
import { elementCount } from '@heddle/tensor';

/**
 * *A graph as a program for the engine*: its bytes, what identifies it together with the weights it reads, and the memory that
 * its weights take once widened to f32. Graphs without weights
 * need no model.
 */
export function programOf(
  model: { readonly digest: string; readonly weightsDirectory: string } | undefined,
  graph: Graph,
): Program {
  const bytes = encodeModel(graph);
  const hash = createHash('sha256').update(bytes);
  const weighted = graph.weights.length > 0;
  if (weighted) hash.update(model?.digest ?? '');
  return {
    digest: hash.digest('hex'),
    bytes,
    weightsDirectory: weighted ? model?.weightsDirectory : undefined,
    residentBytes: graph.weights.reduce(
      (sum, { shape }) => sum + 4 * elementCount(shape as number[]),
      0,
    ),
  };
}
