import type { Rng } from '@heddle/core';
import { type JsonTree, raw, textOf } from './json-tree.ts';

/** Values that readers get wrong: signs, sizes past 2³¹, 2³² and 2⁵³, fractions, overflow, other types, names of prototypes. */
const HOSTILE = [
  '-1',
  '0',
  '-0',
  '1',
  '2',
  '3',
  '5',
  '0.5',
  '1.5',
  '1e-300',
  '1e-40',
  '1e-9',
  '1e9',
  '1e40',
  '1e300',
  '1e999',
  '-1e999',
  '2147483648',
  '4294967296',
  '4294967297',
  '9007199254740993',
  '1e21',
  'null',
  'true',
  'false',
  '""',
  '"NaN"',
  '"Infinity"',
  '"32"',
  '"gelu_new"',
  '"relu"',
  '"silu"',
  '"gelu"',
  '"toString"',
  '"__proto__"',
  '"\\ud800"',
  '"\\u0000"',
  '"../../etc/passwd"',
  '[]',
  '[[]]',
  '[1,2]',
  '["full_attention"]',
  '{}',
  '{"__proto__":1}',
  '{"constructor":{"prototype":{}}}',
] as const;

/** What is no JSON at all. */
const BROKEN = ['NaN', 'Infinity', '01', '+1', '0x10', "'a'", '', 'undefined', '1,', '"\n"'];

/** Regular expressions that are invalid, foreign, or backtrack without end. */
const PATTERNS = [
  '(a+)+$',
  '(a|a)*b',
  '([a-z]+)*!',
  '(?:.*.*)*=',
  '[',
  '(?<!a{1,})b',
  '(?P<x>a)',
  '\\p{Nothing}',
  '',
  '.',
  '^',
  '(?=a)*',
  '\\G\\w+',
  'a{0,100000}',
];

export function hostileValue(rng: Rng): JsonTree {
  const which = rng.below(40);
  if (which === 0) return raw(rng.pick(BROKEN));
  if (which === 1) return raw(`"${'A'.repeat(1 << (4 + rng.below(12)))}"`);
  if (which === 2) {
    const depth = 1 << (2 + rng.below(13));
    return raw('['.repeat(depth) + ']'.repeat(depth));
  }
  if (which === 3) return raw(`${'{"a":'.repeat(2000)}1${'}'.repeat(2000)}`);
  if (which < 8) return raw(JSON.stringify(rng.pick(PATTERNS)));
  return raw(rng.pick(HOSTILE));
}

/** A value not far from the one that stands there: what a careless reader takes. */
function nearValue(rng: Rng, tree: JsonTree): JsonTree {
  const number = tree.kind === 'raw' ? Number(tree.text) : Number.NaN;
  if (!Number.isFinite(number)) return hostileValue(rng);
  const near = [number + 1, number - 1, number * 2, number / 2, -number, number * 1000, number + 4];
  return raw(JSON.stringify(rng.pick(near)));
}

/** A random node below the root, with a bias to the upper levels: thousand-entry vocabularies would swallow all mutations. */
function pickNode(rng: Rng, root: JsonTree): JsonTree {
  let at = root;
  for (;;) {
    const inner: readonly JsonTree[] =
      at.kind === 'raw' ? [] : at.kind === 'list' ? at.items : at.entries.map(([, value]) => value);
    const containers = inner.filter(({ kind }) => kind !== 'raw');
    if (containers.length === 0 || rng.below(3) === 0) return at;
    at = rng.pick(containers);
  }
}

/** Changes one place of a tree, and says what. */
export function mutateTree(rng: Rng, root: JsonTree): string {
  const node = pickNode(rng, root);
  if (node.kind === 'list' && node.items.length > 0) return mutateList(rng, node.items);
  if (node.kind === 'object' && node.entries.length > 0) return mutateObject(rng, node.entries);
  if (node.kind === 'list') {
    node.items.push(hostileValue(rng));
    return 'fills an empty list';
  }
  if (node.kind === 'object') {
    node.entries.push(['x', hostileValue(rng)]);
    return 'fills an empty object';
  }
  node.text = textOf(hostileValue(rng));
  return `the whole is ${short(node.text)}`;
}

function mutateList(rng: Rng, items: JsonTree[]): string {
  const i = rng.below(items.length);
  const item = items[i] as JsonTree;
  switch (rng.below(5)) {
    case 0:
      items.splice(i, 1);
      return `item ${i} is gone`;
    case 1:
      items.splice(i, 0, item);
      return `item ${i} stands twice`;
    case 2:
      items.push(hostileValue(rng));
      return 'one more item';
    case 3:
      items[i] = nearValue(rng, item);
      return `item ${i} is ${short(textOf(items[i] as JsonTree))}`;
    default:
      items[i] = hostileValue(rng);
      return `item ${i} is ${short(textOf(items[i] as JsonTree))}`;
  }
}

function mutateObject(rng: Rng, entries: [string, JsonTree][]): string {
  const i = rng.below(entries.length);
  const [key, value] = entries[i] as [string, JsonTree];
  const other = rng.below(entries.length);
  switch (rng.below(9)) {
    case 0:
      entries.splice(i, 1);
      return `${short(key)} is gone`;
    case 1:
      entries.splice(other, 0, [key, rng.below(2) === 0 ? value : hostileValue(rng)]);
      return `${short(key)} stands twice`;
    case 2:
      entries[i] = [
        rng.pick(['__proto__', 'constructor', '', `${key} `, key.toUpperCase()]),
        value,
      ];
      return `${short(key)} is called ${JSON.stringify(entries[i]?.[0])}`;
    case 3: {
      const swapped = entries[other] as [string, JsonTree];
      entries[other] = [swapped[0], value];
      entries[i] = [key, swapped[1]];
      return `${short(key)} and ${short(swapped[0])} have each other's value`;
    }
    case 4:
    case 5:
    case 6:
      entries[i] = [key, nearValue(rng, value)];
      return `${short(key)} is ${short(textOf(entries[i]?.[1] as JsonTree))}`;
    default:
      entries[i] = [key, hostileValue(rng)];
      return `${short(key)} is ${short(textOf(entries[i]?.[1] as JsonTree))}`;
  }
}

export function short(text: string): string {
  return text.length > 40 ? `${text.slice(0, 40)}… (${text.length})` : text;
}
