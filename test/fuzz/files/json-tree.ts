/** JSON as a tree that can also hold what JSON.parse would lose: repeated keys, their order, and raw text in place of a value. */
export type JsonTree =
  | { readonly kind: 'raw'; text: string }
  | { readonly kind: 'list'; items: JsonTree[] }
  | { readonly kind: 'object'; entries: [string, JsonTree][] };

export const raw = (text: string): JsonTree => ({ kind: 'raw', text });

export function treeOf(value: unknown): JsonTree {
  if (Array.isArray(value)) return { kind: 'list', items: value.map(treeOf) };
  if (typeof value !== 'object' || value === null) return raw(JSON.stringify(value));
  return {
    kind: 'object',
    entries: Object.entries(value).map(([key, inner]) => [key, treeOf(inner)]),
  };
}

export function textOf(tree: JsonTree): string {
  if (tree.kind === 'raw') return tree.text;
  if (tree.kind === 'list') return `[${tree.items.map(textOf).join(',')}]`;
  return `{${tree.entries.map(([key, v]) => `${JSON.stringify(key)}:${textOf(v)}`).join(',')}}`;
}

export function entry(tree: JsonTree, key: string): JsonTree | undefined {
  if (tree.kind !== 'object') return undefined;
  return tree.entries.find(([name]) => name === key)?.[1];
}
