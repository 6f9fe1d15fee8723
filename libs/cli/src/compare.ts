import type { Json } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import { numbersOf } from './tensor-summary.ts';

export interface Difference {
  readonly what: string;
  /** max|Δ| / max(1, max|expected|); null when the two cannot be compared (a part is missing, text differs). */
  readonly error: number | null;
}

export interface NamedTensors {
  names(): readonly string[];
  tensor(name: string): Tensor;
}

/** Tensors that are not equal bit for bit, with how far off they are. */
export function compareTensors(before: NamedTensors, after: NamedTensors): Difference[] {
  const there = new Set(after.names());
  const names = new Set([...before.names(), ...there]);
  return [...names].flatMap((name) => {
    const inBoth = there.has(name) && before.names().includes(name);
    if (!inBoth) return [{ what: name, error: null }];
    const error = tensorError(before.tensor(name), after.tensor(name));
    return error === 0 ? [] : [{ what: name, error }];
  });
}

function tensorError(expected: Tensor, actual: Tensor): number | null {
  if (expected.dtype !== actual.dtype || `${expected.shape}` !== `${actual.shape}`) return null;
  const a = numbersOf(expected);
  const b = numbersOf(actual);
  let largest = 0;
  let scale = 1;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    if (Object.is(x, y)) continue; // also −∞ above the diagonal
    if (!Number.isFinite(x) || !Number.isFinite(y)) return null;
    largest = Math.max(largest, Math.abs(x - y));
    scale = Math.max(scale, Math.abs(x));
  }
  return largest / scale;
}

/** What a job's id is made of: its kind, and what nobody chose. */
const JOB_ID = /^([a-z]+(?:-[a-z]+)*)-[0-9a-f]{12}$/;

/** Two jobs of one kind, each the other's repetition: a sweep that runs again has trainings with ids of their own. */
function sameKindOfJob(before: Json, after: Json): boolean {
  if (typeof before !== 'string' || typeof after !== 'string') return false;
  const kind = JOB_ID.exec(before)?.[1];
  return kind !== undefined && kind === JOB_ID.exec(after)?.[1];
}

/** Members of two JSON documents that differ, by path, ids of jobs aside; those whose name matches `ignore` are passed over. */
export function compareJson(
  before: Json,
  after: Json,
  options: { readonly ignore: RegExp },
  path = '',
): Difference[] {
  if (typeof before === 'number' && typeof after === 'number') {
    const error = Math.abs(before - after) / Math.max(1, Math.abs(before));
    return error === 0 ? [] : [{ what: path, error }];
  }
  if (!isTree(before) || !isTree(after) || Array.isArray(before) !== Array.isArray(after)) {
    const same = before === after || sameKindOfJob(before, after);
    return same ? [] : [{ what: path, error: null }];
  }
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => {
    if (options.ignore.test(name)) return [];
    const inner = path === '' ? name : `${path}.${name}`;
    const [a, b] = [before[name], after[name]];
    if (a === undefined || b === undefined) return [{ what: inner, error: null }];
    return compareJson(a, b, options, inner);
  });
}

type Tree = { readonly [name: string]: Json };

const isTree = (value: Json): value is Tree => typeof value === 'object' && value !== null;
