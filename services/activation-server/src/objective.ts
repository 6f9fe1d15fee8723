import { invalidArgument, type OperationError } from '@heddle/core';
import { type HookPoint, hookPoint, type ModelConfig, resolveHooks } from '@heddle/models';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import { OBJECTIVE_CHARS_MAX, OBJECTIVE_TERMS_MAX } from './limits.ts';

/** coefficient · Σ of the elements of a hook that the index leaves open. */
export interface ObjectiveTerm {
  readonly coefficient: number;
  readonly point: HookPoint;
  /** One entry per axis without batch; undefined: all of the axis. Negative ones count from the prompt's end. */
  readonly index: readonly (number | undefined)[];
}

/** The scalar whose gradient is wanted: a weighted sum of elements of hooks, of each prompt by itself. */
export type Objective = readonly ObjectiveTerm[];

const refuse = (message: string): OperationError =>
  invalidArgument(`gradient: ${message}`, { field: 'gradient' });

const TERM =
  /^\s*([+-])?\s*(?:(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*\*)?\s*([A-Za-z_][\w.]*)\s*(?:\[([^\]]*)\])?/;

/**
 * Reads `logits[-1,42] - 0.5*logits[-1,17] + blocks.3.attn.hook_attn_scores[2,5,1]`: terms of hooks with one whole number or `*` (the
 * sum over all) for each axis; axes left out at the end are summed too; a negative position counts from the end.
 * Errors: `invalid_argument` with `field` `gradient`, and what was expected.
 */
export function readObjective(
  text: string,
  config: ModelConfig,
  lengths: readonly number[],
): Objective {
  if (text.length > OBJECTIVE_CHARS_MAX)
    throw refuse(`longer than ${OBJECTIVE_CHARS_MAX} characters`);
  const terms: ObjectiveTerm[] = [];
  let rest = text;
  while (rest.trim() !== '') {
    const match = TERM.exec(rest);
    const [whole = '', sign, factor = '1', name = '', index] = match ?? [];
    if (!match || (terms.length > 0 && sign === undefined)) {
      throw refuse(
        `${JSON.stringify(rest.slice(0, 40))}: a term like 0.5*logits[-1,42] expected, terms joined by + or -`,
      );
    }
    if (terms.length === OBJECTIVE_TERMS_MAX)
      throw refuse(`more than ${OBJECTIVE_TERMS_MAX} terms`);
    const coefficient = (sign === '-' ? -1 : 1) * Number(factor);
    if (!Number.isFinite(coefficient)) throw refuse(`${factor} is no finite number`);
    const [canonical = ''] = resolveHooks(config, [name], 'gradient');
    const point = hookPoint(config, canonical);
    if (point.segment.kind === 'embed') throw refuse(`${canonical} depends on no other hook`);
    terms.push({ coefficient, point, index: readIndex(index, point, lengths) });
    rest = rest.slice(whole.length);
  }
  if (terms.length === 0) throw refuse('empty');
  return terms;
}

function readIndex(
  text: string | undefined,
  point: HookPoint,
  lengths: readonly number[],
): readonly (number | undefined)[] {
  const words = text === undefined || text.trim() === '' ? [] : text.split(',');
  if (words.length > point.axes.length) {
    throw refuse(
      `${point.name} has ${point.axes.length} axes (${point.axes.join(', ')}), not ${words.length}`,
    );
  }
  return point.shape.map((size, axis) => {
    const word = words[axis]?.trim();
    if (word === undefined || word === '*') return undefined;
    const limit = size === 'pos' ? Math.min(...lengths) : size;
    const n = Number(word);
    if (!/^-?\d+$/.test(word) || n >= limit || n < -limit) {
      throw refuse(
        `${JSON.stringify(word)} on axis ${point.axes[axis]} of ${point.name}: ${-limit} to ${limit - 1}, or *`,
      );
    }
    // From the end of an axis of fixed size is the same for all prompts; of positions, each prompt has its own end.
    return n < 0 && size !== 'pos' ? n + size : n;
  });
}

/** Positions whose logits the objective reads, ascending; all of them where a term leaves the position open. */
export function objectiveRows(objective: Objective, length: number): readonly number[] {
  const all = Array.from({ length }, (_, p) => p);
  const used = objective
    .filter(({ point }) => point.name === 'logits')
    .flatMap(({ index: [position] }) =>
      position === undefined ? all : [position < 0 ? position + length : position],
    );
  return [...new Set(used)].sort((a, b) => a - b);
}

/** d objective / d hook as if nothing else depended on it: the coefficients, for one prompt, in an array of `shape`. */
export function coefficientsAt(
  objective: Objective,
  hook: string,
  length: number,
  shape: readonly number[],
): Float32Array {
  const out = new Float32Array(elementCount(shape));
  for (const { coefficient, point, index } of objective) {
    if (point.name !== hook) continue;
    const visit = (axis: number, offset: number): void => {
      if (axis === shape.length) {
        out[offset] = (out[offset] ?? 0) + coefficient;
        return;
      }
      const size = point.shape[axis] === 'pos' ? length : (shape[axis] ?? 0);
      const stride = elementCount(shape.slice(axis + 1));
      const at = index[axis];
      const from = at === undefined ? 0 : at < 0 ? at + length : at;
      const to = at === undefined ? size : from + 1;
      for (let i = from; i < to; i++) visit(axis + 1, offset + i * stride);
    };
    visit(0, 0);
  }
  return out;
}

/** Cotangent of a hook in a batch padded to `pos`; of logits, only the rows that the objective reads. */
export function cotangent(
  objective: Objective,
  point: HookPoint,
  lengths: readonly number[],
  pos: number,
): Tensor<'f32'> {
  if (point.name === 'logits') return logitCotangent(objective, lengths, point.shape[1] as number);
  const shape = point.shape.map((size) => (size === 'pos' ? pos : size));
  const each = elementCount(shape);
  const data = new Float32Array(lengths.length * each);
  lengths.forEach((length, b) => {
    data.set(coefficientsAt(objective, point.name, length, shape), b * each);
  });
  return tensor('f32', [lengths.length, ...shape], data);
}

function logitCotangent(
  objective: Objective,
  lengths: readonly number[],
  width: number,
): Tensor<'f32'> {
  const terms = objective.filter(({ point }) => point.name === 'logits');
  const rows = lengths.flatMap((length) =>
    objectiveRows(objective, length).map((position) => {
      const row = new Float32Array(width);
      for (const { coefficient, index } of terms) {
        const [at, token] = index;
        if (at !== undefined && (at < 0 ? at + length : at) !== position) continue;
        const from = token ?? 0;
        const to = token === undefined ? width : token + 1;
        for (let i = from; i < to; i++) row[i] = (row[i] ?? 0) + coefficient;
      }
      return row;
    }),
  );
  const data = new Float32Array(rows.length * width);
  for (const [i, row] of rows.entries()) data.set(row, i * width);
  return tensor('f32', [rows.length, width], data);
}
