import { assert, present } from '@heddle/core';
import { rowTimes } from '@heddle/linalg';
import type { HostRun } from '../host/index.ts';
import type { BasisOf } from './accpp.reference.ts';
import { type Component, written } from './firing.reference.ts';
import type { TraceEdge, TraceGraph } from './graph.ts';

/** What taking an edge's signal away does to the scores of the one head that it enters. */
export interface ScoreEdit {
  readonly layer: number;
  readonly head: number;
  /** `dest`: a row, the scores of one query; `src`: a column, the scores of one key. */
  readonly side: 'dest' | 'src';
  /** The query of the row, or the key of the column. */
  readonly position: number;
  /**
   * To be added: for a row, keys 0 to the query; for a column, queries from the key to the last.
   */
  readonly change: Float64Array;
}

/**
 * *The local edit of an edge* (ACC++): the component's coefficients on the edge's singular vectors
 * are taken out of the query at dest, or out of the key at src, of this head alone, with norm
 * scales frozen. In scores: `−Σ_k c_k (k_s toKey)_k / attnScale` for every key of a query,
 * `−Σ_k (q_t toQuery)_k c_k / attnScale` for every query of a key. Other heads that share the key's
 * kv_head do not change.
 */
export function localEdit(
  run: HostRun,
  graph: TraceGraph,
  edge: TraceEdge,
  basisOf: BasisOf,
): ScoreEdit {
  assert(edge.side !== 'seed', 'a seed enters no head');
  const node = (id: string) =>
    present(
      graph.nodes.find((candidate) => candidate.id === id),
      `node ${id}`,
    );
  const [from, to] = [node(edge.from), node(edge.to)];
  assert(from.kind !== 'root' && to.kind === 'head', 'an edge joins a component to a head');
  const { layer } = to;
  const head = present(to.head, 'head');
  const position = present(edge.side === 'dest' ? to.dest : to.src, 'position');
  const component = { kind: from.kind, layer: from.layer, head: from.head, token: from.src ?? 0 };
  const basis = basisOf(layer, head);
  const reads = run.head(layer, head);
  const coefficients = rowTimes(
    shareOf(run, component, { layer, head, position, side: edge.side }),
    edge.side === 'dest' ? basis.toQuery : basis.toKey,
  );
  const others =
    edge.side === 'dest'
      ? Array.from({ length: position + 1 }, (_, s) => rowTimes(reads.key(s), basis.toKey))
      : Array.from({ length: run.length - position }, (_, t) =>
          rowTimes(reads.query(position + t), basis.toQuery),
        );
  const change = Float64Array.from(others, (other) => {
    const parts = edge.singular_vectors.map((k) => coefficients[k] * other[k]);
    return -parts.reduce((a, b) => a + b, 0) / reads.attnScale;
  });
  return { layer, head, side: edge.side, position, change };
}

/** The component's part of the query or key at the position. */
function shareOf(
  run: HostRun,
  component: Component,
  { layer, head, position, side }: Omit<ScoreEdit, 'change'>,
): Float64Array {
  const reads = run.head(layer, head);
  if (component.kind === 'bias_offset') {
    return side === 'dest' ? reads.queryBias(position) : reads.keyBias(position);
  }
  const vector = written(run, component, position);
  return side === 'dest' ? reads.toQuery(vector, position) : reads.toKey(vector, position);
}
