import { createHash } from 'node:crypto';
import { encodedEvaluation, type LorsaConfig } from '@heddle/interp/lorsa';
import { encodeModel, type Graph } from '@heddle/onnx';
import type { Program } from '@heddle/ports';
import { showShape, type Tensor, toBytes } from '@heddle/tensor';

/** What evaluates a layer. Parameters are feeds. */
export interface TrainPrograms {
  readonly evaluate: Program;
}

/** A graph that holds no weights, as an engine takes it. */
export function programOf(bytes: Uint8Array): Program {
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { digest, bytes, weightsDirectory: undefined, residentBytes: 0 };
}

/** The same of a graph that is not encoded yet. */
export const graphProgram = (graph: Graph): Program => programOf(encodeModel(graph));

export function programsFor(config: LorsaConfig): TrainPrograms {
  return { evaluate: programOf(encodedEvaluation(config)) };
}

/** `sha256:` of tensors under names, in the order of the names, and of a text beside them. */
export function digestOfTensors(
  text: string,
  tensors: Iterable<readonly [name: string, tensor: Tensor]>,
): string {
  const hash = createHash('sha256').update(text);
  for (const [name, each] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(`\n${name} ${each.dtype} ${showShape(each.shape)}\n`).update(toBytes(each));
  }
  return `sha256:${hash.digest('hex')}`;
}

/** `sha256:` of a text: what identifies a request and a set of sequences. */
export function digestOf(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`;
}
