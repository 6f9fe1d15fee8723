/** One selector of an expression: `name{label="value"}`. */
export interface Selector {
  readonly name: string;
  readonly matchers: readonly {
    readonly label: string;
    readonly type: '=' | '!=' | '=~' | '!~';
    readonly value: string;
  }[];
}

interface Node {
  readonly type?: string;
  readonly name?: string;
  readonly matchers?: readonly {
    readonly name: string;
    readonly type: Selector['matchers'][number]['type'];
    readonly value: string;
  }[];
}

/** Of what Prometheus itself makes of an expression (`/api/v1/parse_query`). */
export function selectorsOf(tree: unknown): readonly Selector[] {
  if (Array.isArray(tree)) return tree.flatMap(selectorsOf);
  if (typeof tree !== 'object' || tree === null) return [];
  const { type, name = '', matchers = [] } = tree as Node;
  if (type === 'vectorSelector' || type === 'matrixSelector') {
    const rest = matchers.filter(({ name: label }) => label !== '__name__');
    return [
      {
        name,
        matchers: rest.map(({ name: label, type: how, value }) => ({ label, type: how, value })),
      },
    ];
  }
  return Object.values(tree).flatMap(selectorsOf);
}
