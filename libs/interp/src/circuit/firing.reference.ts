import { failedPrecondition } from '@heddle/core';
import { dot, type Matrix, maxAbs, rowOf, rowTimes, topk, zeroMatrix } from '@heddle/linalg';
import { type HeadReads, type HostRun, softmax } from '../host/index.ts';
import type { NodeKind } from './graph.ts';
import type { HeadBasis } from './head-basis.ts';
import { igWeights } from './integrated-gradients.reference.ts';
import { REMOVALS_MAX } from './limits.ts';

/**
 * What may bring attention: an upstream component. A head comes apart by the token it read
 * (`token`).
 */
export interface Component {
  readonly kind: Exclude<NodeKind, 'root'>;
  readonly layer: number;
  readonly head: number | null;
  /** A head: the position it read. Others: the traced position of this side. */
  readonly token: number;
}

/** What a component lost in the greedy removal. */
export interface Removed {
  readonly component: Component;
  /** Attention that went with it, all its singular vectors together. */
  readonly drop: number;
  /** In the order of removal. */
  readonly singularVectors: readonly number[];
}

export interface SideTrace {
  readonly removed: readonly Removed[];
  readonly attentionBefore: number;
  readonly attentionAfter: number;
  /** The cap on removals was reached: `removed` is no explanation then. */
  readonly capped: boolean;
}

export interface Firing {
  readonly dest: number;
  readonly src: number;
  readonly threshold: number;
}

/** A component's part of the score of every key, by singular vector: rows k, columns keys. */
type Part = (component: number) => Matrix;

/**
 * *Why a head looks from dest to src* (ACC++): its scores as a sum over (component, singular
 * vector), on one side with the other side whole; the terms ordered by the integrated gradients of
 * the softmax; removed in that order until the attention on src falls below the threshold. What was
 * removed is the explanation, the drops its weights. Franco et al. 2026.
 */
export function traceSide(
  run: HostRun,
  reads: HeadReads,
  basis: HeadBasis,
  side: 'dest' | 'src',
  firing: Firing,
): SideTrace {
  const components = componentsOf(run, reads.layer, side === 'dest' ? firing.dest : firing.src);
  if (side === 'src') addLaterReads(run, reads.layer, firing, components);
  const part =
    side === 'dest'
      ? destParts(run, reads, basis, firing.dest, components)
      : srcParts(run, reads, basis, firing.dest, components);
  const scores = new Float64Array(firing.dest + 1);
  components.forEach((_, i) => {
    const rows = part(i);
    for (let k = 0; k < rows.rows; k++) addTo(scores, rowOf(rows, k), 1);
  });
  requireSum(scores, reads, firing.dest);
  reads.requireConsistent(scores, firing.dest);
  const rank = basis.S.length;
  const order = orderByGradient(components, part, igWeights(scores, firing.src), rank);
  return removeGreedily(components, part, scores, order, rank, firing);
}

/** Every component that writes to a position before a layer, and the reading head's own bias. */
function componentsOf(run: HostRun, layer: number, position: number): Component[] {
  const out: Component[] = [];
  const bare = { head: null, token: position };
  for (let below = 0; below < layer; below++) {
    for (let head = 0; head < run.host.shape.n_heads; head++) {
      for (let token = 0; token <= position; token++) {
        out.push({ kind: 'head', layer: below, head, token });
      }
    }
    out.push({ ...bare, kind: 'mlp', layer: below });
    out.push({ ...bare, kind: 'attn_bias', layer: below });
  }
  out.push({ ...bare, kind: 'embedding', layer: 0 });
  out.push({ ...bare, kind: 'bias_offset', layer: 0 });
  return out;
}

/**
 * On the key side other keys compete, and may have read tokens after src: they are parts too,
 * though no edge into src.
 */
function addLaterReads(run: HostRun, layer: number, { dest, src }: Firing, out: Component[]): void {
  for (let below = 0; below < layer; below++) {
    for (let head = 0; head < run.host.shape.n_heads; head++) {
      for (let token = src + 1; token <= dest; token++) {
        out.push({ kind: 'head', layer: below, head, token });
      }
    }
  }
}

/** Query side: the component's share of the query, times the whole of every key. */
function destParts(
  run: HostRun,
  reads: HeadReads,
  basis: HeadBasis,
  dest: number,
  components: readonly Component[],
): Part {
  const keys = Array.from({ length: dest + 1 }, (_, s) => rowTimes(reads.key(s), basis.toKey));
  const coefficients = components.map((component) => {
    const share =
      component.kind === 'bias_offset'
        ? reads.queryBias(dest)
        : reads.toQuery(written(run, component, dest), dest);
    return rowTimes(share, basis.toQuery);
  });
  return (i) => {
    const rows = zeroMatrix(basis.S.length, dest + 1);
    for (let k = 0; k < rows.rows; k++) {
      keys.forEach((key, s) => {
        rows.data[k * rows.cols + s] = (coefficients[i][k] * key[k]) / reads.attnScale;
      });
    }
    return rows;
  };
}

/**
 * Key side: the whole query, times the component's share of every key, taken at that key's own
 * position.
 */
function srcParts(
  run: HostRun,
  reads: HeadReads,
  basis: HeadBasis,
  dest: number,
  components: readonly Component[],
): Part {
  const query = rowTimes(reads.query(dest), basis.toQuery);
  // What a head carries over from a token is the same vector at every key, weighed by the pattern:
  // projected once.
  const carried = components.map(({ kind, layer, head, token }) =>
    kind === 'head' ? reads.projectKey(rowOf(run.headOutput(layer, head as number), token)) : null,
  );
  const shareOf = (i: number, s: number): Float64Array => {
    const { kind, layer, head, token } = components[i];
    if (kind === 'bias_offset') return reads.keyBias(s);
    const projected = carried[i];
    if (projected === null) return reads.toKey(written(run, components[i], s), s);
    const weight = run.pattern(layer, head as number, s, token);
    return reads.placeKey(projected, s).map((value) => value * weight);
  };
  return (i) => {
    const rows = zeroMatrix(query.length, dest + 1);
    const first = components[i].kind === 'head' ? components[i].token : 0;
    for (let s = first; s <= dest; s++) {
      const coefficients = rowTimes(shareOf(i, s), basis.toKey);
      for (let k = 0; k < rows.rows; k++) {
        rows.data[k * rows.cols + s] = (query[k] * coefficients[k]) / reads.attnScale;
      }
    }
    return rows;
  };
}

/** What a component adds to the residual stream at a position, `[d_model]`. */
export function written(run: HostRun, component: Component, position: number): Float64Array {
  const { kind, layer, head, token } = component;
  switch (kind) {
    case 'head': {
      const weight = run.pattern(layer, head as number, position, token);
      return rowOf(run.headOutput(layer, head as number), token).map((value) => value * weight);
    }
    case 'mlp':
      return run.host.centred(rowOf(run.layer(layer).mlp_out, position));
    case 'attn_bias':
      return run.host.layer(layer).b_O;
    default: {
      const { embed, pos_embed } = run.activations;
      const token = run.host.centred(rowOf(embed, position));
      if (pos_embed === null) return token;
      addTo(token, run.host.centred(rowOf(pos_embed, position)), 1);
      return token;
    }
  }
}

/** The parts must give the head's scores back; else nothing that follows is true. */
function requireSum(scores: Float64Array, reads: HeadReads, dest: number): void {
  const q = reads.query(dest);
  const direct = scores.map((_, s) => dot(q, reads.key(s)) / reads.attnScale);
  const off = maxAbs(scores.map((value, s) => value - direct[s]));
  if (off <= 1e-3 * Math.max(1, maxAbs(direct))) return;
  throw failedPrecondition(
    `the components of head ${reads.layer}.${reads.head} at position ${dest} do not add up to its scores: off by ${off}`,
    { details: { layer: reads.layer, head: reads.head, position: dest, off } },
  );
}

/**
 * All (component, singular vector) pairs by descending integrated gradient; ties in the order of
 * the components.
 */
function orderByGradient(
  components: readonly Component[],
  part: Part,
  weights: Float64Array,
  rank: number,
): Int32Array {
  const gradients = new Float64Array(components.length * rank);
  components.forEach((_, i) => {
    const rows = part(i);
    for (let k = 0; k < rank; k++) gradients[i * rank + k] = dot(rowOf(rows, k), weights);
  });
  return topk(gradients, Math.min(REMOVALS_MAX, gradients.length)).indices;
}

function removeGreedily(
  components: readonly Component[],
  part: Part,
  total: Float64Array,
  order: Int32Array,
  rank: number,
  { src, threshold }: Firing,
): SideTrace {
  const scores = total.slice();
  const attentionBefore = softmax(scores)[src];
  const removed = new Map<number, { drop: number; singularVectors: number[] }>();
  let attention = attentionBefore;
  let count = 0;
  while (attention >= threshold && count < order.length) {
    const component = Math.floor(order[count] / rank);
    const k = order[count++] % rank;
    addTo(scores, rowOf(part(component), k), -1);
    const left = softmax(scores)[src];
    const entry = removed.get(component) ?? { drop: 0, singularVectors: [] };
    entry.drop += attention - left;
    entry.singularVectors.push(k);
    removed.set(component, entry);
    attention = left;
  }
  return {
    removed: [...removed].map(([i, entry]) => ({ component: components[i], ...entry })),
    attentionBefore,
    attentionAfter: attention,
    capped: attention >= threshold,
  };
}

function addTo(target: Float64Array, values: Float64Array, factor: number): void {
  for (let i = 0; i < target.length; i++) target[i] += factor * values[i];
}
