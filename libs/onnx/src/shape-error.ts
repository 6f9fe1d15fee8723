import { showShape } from '@heddle/tensor';
import type { ValueInfo } from './graph.ts';

/** A graph that cannot be: thrown where the op is added, naming its scope, the op, why, and what it was given. */
export class ShapeError extends Error {
  override readonly name = 'ShapeError';
  readonly scope: string;
  readonly op: string;

  constructor(scope: string, op: string, reason: string, inputs: readonly ValueInfo[]) {
    const given = inputs.map(({ dtype, shape }) => `${dtype} ${showShape(shape)}`).join(', ');
    super(`${scope === '' ? '(top)' : scope}: ${op}(${given}): ${reason}`);
    this.scope = scope;
    this.op = op;
  }
}
