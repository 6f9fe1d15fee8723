import { invalidArgument, type OperationError } from '@heddle/core';
import type { ModelConfig } from '../config/model-config.ts';
import { type HookPoint, hookPoints, whyLacking } from '../hooks/catalogue.ts';
import type { WrittenIndex, WrittenTerm } from './read-target.ts';

/**
 * One term of the scalar: weight times an entry of a hook point, or times a log probability. A logit is an entry of
 * `logits`. Indices along positions may be negative: counted from the end of the prompt.
 */
export interface TargetTerm {
  readonly weight: number;
  /** Canonical; `logits` for a log probability, which is made from them. */
  readonly hook: string;
  readonly of: 'value' | 'logprob';
  /** One for each axis of the hook, without the batch. */
  readonly indices: readonly number[];
}

/** Token ids of a text; undefined for a model without a tokenizer. */
export type EncodeText = ((text: string) => readonly number[]) | undefined;

/**
 * *A written target in the terms of a model*: names and aliases of hook points, tokens as ids, indices within their axes.
 * Errors: `invalid_argument`, field `gradient`: a hook that the model lacks (and why), a wrong number of indices, an index
 * out of range, a text that is not one token.
 */
export function resolveTarget(
  config: ModelConfig,
  written: readonly WrittenTerm[],
  encode: EncodeText,
): readonly TargetTerm[] {
  const points = hookPoints(config);
  return written.map(({ weight, name, indices }) => {
    const of = name === 'logprob' ? 'logprob' : 'value';
    const wanted = name === 'logit' || name === 'logprob' ? 'logits' : name;
    const point = points.find((p) => p.name === wanted || p.aliases.includes(wanted));
    if (!point) throw wrong(`${name}: ${whyLacking(config, name)}`);
    if (indices.length !== point.axes.length) {
      const axes = name === wanted ? point.axes.join(', ') : 'pos, token';
      throw wrong(`${name} takes [${axes}], found ${indices.length} indices`);
    }
    const numbers = indices.map((index, axis) => {
      if (axis === 1 && wanted === 'logits') return tokenOf(config, index, encode, name);
      return indexOf(config, point, axis, index, name);
    });
    return { weight, hook: point.name, of, indices: numbers };
  });
}

function indexOf(
  config: ModelConfig,
  point: HookPoint,
  axis: number,
  index: WrittenIndex,
  name: string,
): number {
  const label = point.axes[axis] ?? '';
  if (typeof index !== 'number') {
    throw wrong(`${name}: ${shown(index)} stands for ${label}, which takes a whole number`);
  }
  const size = point.shape[axis] ?? 0;
  if (size === 'pos') {
    if (index >= -config.n_ctx && index < config.n_ctx) return index;
    throw wrong(`${name}: ${label} ${index}; the model reads ${config.n_ctx} positions`);
  }
  if (index >= 0 && index < size) return index;
  throw wrong(`${name}: ${label} ${index}; 0 to ${size - 1}`);
}

function tokenOf(
  { d_vocab }: ModelConfig,
  index: WrittenIndex,
  encode: EncodeText,
  name: string,
): number {
  if (typeof index !== 'number' && 'text' in index) {
    if (!encode) throw wrong(`${name}: the model has no tokenizer.json: write a token as id:N`);
    const ids = encode(index.text);
    const [id] = ids;
    if (id !== undefined && ids.length === 1) return id;
    throw wrong(`${name}: ${shown(index)} is ${ids.length} tokens [${ids}], where one is expected`);
  }
  if (typeof index === 'number' && name !== 'logits') {
    throw wrong(`${name}: token ${index} may be a text or an id: write "${index}" or id:${index}`);
  }
  const id = typeof index === 'number' ? index : index.id;
  if (id >= 0 && id < d_vocab) return id;
  throw wrong(`${name}: id ${id} is no token of the model; ids are 0 to ${d_vocab - 1}`);
}

/**
 * *The target at a prompt of `length` tokens*: positions counted from the front. Errors: `invalid_argument`, field `gradient`, for
 * a position that the prompt lacks, and for scores above the diagonal, which are no function of anything.
 */
export function placeTarget(
  config: ModelConfig,
  terms: readonly TargetTerm[],
  length: number,
): readonly TargetTerm[] {
  const points = new Map(hookPoints(config).map((point) => [point.name, point]));
  return terms.map((term) => {
    const axes = points.get(term.hook)?.axes ?? [];
    const shape = points.get(term.hook)?.shape ?? [];
    const indices = term.indices.map((index, axis) => {
      if (shape[axis] !== 'pos') return index;
      const place = index < 0 ? index + length : index;
      if (place >= 0 && place < length) return place;
      const range = `${-length} to ${length - 1}`;
      throw wrong(`${term.hook}: ${axes[axis]} ${index}; a prompt has positions ${range}`);
    });
    const [, query = 0, key = 0] = indices;
    if (axes[2] === 'key_pos' && key > query) {
      throw wrong(`${term.hook}: key ${key} lies behind query ${query}, which does not see it`);
    }
    return { ...term, indices };
  });
}

function shown(index: WrittenIndex): string {
  if (typeof index === 'number') return `${index}`;
  return 'text' in index ? JSON.stringify(index.text) : `id:${index.id}`;
}

function wrong(why: string): OperationError {
  return invalidArgument(`gradient: ${why}`, { field: 'gradient' });
}
