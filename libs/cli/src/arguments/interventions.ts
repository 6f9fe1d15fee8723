import { invalidArgument } from '@heddle/core';
import { type Init, toInline } from '@heddle/ports';
import type { Intervention, InterventionKind } from '@heddle/ports/proto/activation';
import { elementCount, tensor } from '@heddle/tensor';
import type { Invocation } from '../invocation.ts';
import { readText } from './files.ts';
import { isPlaces } from './prompts.ts';

const KINDS: Readonly<Record<string, InterventionKind>> = {
  add: 'INTERVENTION_KIND_ADD',
  replace: 'INTERVENTION_KIND_REPLACE',
  scale: 'INTERVENTION_KIND_SCALE',
  zero: 'INTERVENTION_KIND_ZERO',
};

const MEMBERS = ['hook', 'kind', 'positions', 'heads', 'prompts', 'value', 'factor'];

/**
 * `--intervene F.json`: a list of `{"hook", "kind": "add" | "replace" | "scale" | "zero", "positions"?, "heads"?,
 * "prompts"?, "value"?, "factor"?}`; a value, of add and replace, is a number or nested lists of numbers; a factor, of scale, is a number.
 */
export async function readInterventions(
  invocation: Invocation,
  path: string,
): Promise<Init<Intervention>[]> {
  const text = await readText(invocation, path, 'intervene');
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw invalidArgument(`${path} is not JSON: ${why}`, { field: 'intervene', cause });
  }
  if (!Array.isArray(list)) throw invalid(path, 'intervene', 'a JSON list of interventions');
  return list.map((item, i) => interventionOf(item, path, `intervene[${i}]`));
}

function interventionOf(item: unknown, path: string, field: string): Init<Intervention> {
  if (typeof item !== 'object' || item === null) throw invalid(path, field, 'an object');
  const { hook, kind, positions, heads, prompts, value, factor } = item as Record<string, unknown>;
  const unknown = Object.keys(item).find((name) => !MEMBERS.includes(name));
  if (unknown !== undefined) {
    throw invalid(path, `${field}.${unknown}`, `one of ${MEMBERS.join(', ')}`);
  }
  if (typeof hook !== 'string') throw invalid(path, `${field}.hook`, 'the name of a hook point');
  const known = typeof kind === 'string' ? KINDS[kind] : undefined;
  if (known === undefined) throw invalid(path, `${field}.kind`, Object.keys(KINDS).join(', '));
  const needed = kind === 'scale' ? 'factor' : kind === 'zero' ? undefined : 'value';
  checkMembers({ value, factor }, needed, (name, wanted) =>
    invalid(path, `${field}.${name}`, wanted),
  );
  return {
    hook,
    kind: known,
    positions: placesOf(positions, path, `${field}.positions`),
    heads: placesOf(heads, path, `${field}.heads`),
    prompts: placesOf(prompts, path, `${field}.prompts`),
    value: value === undefined ? null : inlineOf(value, path, `${field}.value`),
    factor: typeof factor === 'number' ? factor : 0,
  };
}

/** A number under the wrong name would be taken for 0: a scale by `value` would silence the hook. */
function checkMembers(
  { value, factor }: { readonly value: unknown; readonly factor: unknown },
  needed: 'value' | 'factor' | undefined,
  refuse: (name: string, wanted: string) => Error,
): void {
  if (value !== undefined && needed !== 'value') {
    throw refuse('value', 'absent: only add and replace take one');
  }
  if (factor !== undefined && needed !== 'factor') {
    throw refuse('factor', 'absent: only scale takes one');
  }
  if (needed === 'factor' && typeof factor !== 'number') throw refuse('factor', 'a number');
  if (needed === 'value' && value === undefined) {
    throw refuse('value', 'a number, or nested lists of numbers');
  }
}

function placesOf(value: unknown, path: string, field: string): readonly number[] {
  if (value === undefined) return [];
  if (!isPlaces(value)) throw invalid(path, field, 'a list of numbers that count from 0');
  return value;
}

/** Nested lists of numbers → a tensor of their shape. */
function inlineOf(value: unknown, path: string, field: string) {
  const shape: number[] = [];
  for (let inner = value; Array.isArray(inner); inner = inner[0]) shape.push(inner.length);
  const flat = Array.isArray(value) ? value.flat(Number.POSITIVE_INFINITY) : [value];
  const numeric = flat.every((n) => typeof n === 'number');
  if (!numeric || flat.length !== elementCount(shape) || !isRegular(value, shape)) {
    throw invalid(path, field, 'a number, or lists of numbers of equal lengths');
  }
  return toInline(tensor('f32', shape, Float32Array.from(flat as number[])));
}

function isRegular(value: unknown, [length, ...rest]: readonly number[]): boolean {
  if (length === undefined) return !Array.isArray(value);
  if (!Array.isArray(value) || value.length !== length) return false;
  return value.every((inner) => isRegular(inner, rest));
}

const invalid = (path: string, field: string, wanted: string) =>
  invalidArgument(`${path}: ${field} has to be ${wanted}`, { field });
