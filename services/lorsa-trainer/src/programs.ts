import { createHash } from 'node:crypto';
import { encodedEvaluation, encodedTrainStep, type LorsaConfig } from '@heddle/interp/lorsa';
import type { Program } from '@heddle/ports';
import { showShape, type Tensor, toBytes } from '@heddle/tensor';

/** The two graphs of a training. Parameters are feeds, so they hold no weights. */
export interface TrainPrograms {
  readonly step: Program;
  readonly evaluate: Program;
}

function program(bytes: Uint8Array): Program {
  const digest = createHash('sha256').update(bytes).digest('hex');
  return { digest, bytes, weightsDirectory: undefined, residentBytes: 0 };
}

export function programsFor(config: LorsaConfig): TrainPrograms {
  return {
    step: program(encodedTrainStep(config)),
    evaluate: program(encodedEvaluation(config)),
  };
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
