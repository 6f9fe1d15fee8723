import type { GraphBuilder, Value } from '@heddle/onnx';

/** Computation appended to a segment, next to the model's own: what leaves the engine is then its small answer. */
export interface GraphProgram {
  /** Unique, with whatever changes its structure; part of the session's key. */
  readonly name: string;
  /** Hook points whose values it reads; `resid_in` is what enters a block or the unembedding. */
  readonly needs: readonly string[];
  /** Adds nodes; declares its own feeds with `g.input` and its results with `g.output`. */
  build(g: GraphBuilder, at: (hook: string) => Value): void;
}

/** A variant of one segment. Only structure: every number comes as a feed. */
export interface SegmentRequest {
  /** Canonical names of hook points of this segment that become outputs under these names. */
  readonly hooks: readonly string[];
  /** Hook points where x becomes `x · factor + value`, both feeds. */
  readonly interventions: readonly string[];
  readonly programs: readonly GraphProgram[];
  /** Whether the residual stream goes on: the output `resid_out`. */
  readonly residOut: boolean;
  /** 1: attention as a whole. More: in that many blocks of queries, when neither scores nor pattern are asked for. */
  readonly queryBlocks: number;
  /** The segment's vector-Jacobian product: what gradients through a model are chained from. */
  readonly gradient?: SegmentGradient;
}

/**
 * From the gradient of a scalar by `resid_out`, and the entries of this segment that the scalar reads itself, to its gradient
 * by hook points and by `resid_in`. The forward is computed again beside it.
 */
export interface SegmentGradient {
  /** Hook points that the scalar reads: feeds `{hook}#seed` of their shape. For `logits`, feeds by row. */
  readonly seeds: readonly string[];
  /** Hook points by which the gradient is wanted: outputs `{hook}#gradient`. */
  readonly at: readonly string[];
  /** Whether something behind this segment depends on it: the feed `resid_out#gradient`. */
  readonly fromNext: boolean;
  /** Whether the gradient goes on to the segment before: the output `resid_in#gradient`. */
  readonly toPrevious: boolean;
}

export const PLAIN: SegmentRequest = {
  hooks: [],
  interventions: [],
  programs: [],
  residOut: true,
  queryBlocks: 1,
};

/** Feed names of an intervention's slot. */
export const factorFeed = (hook: string): string => `${hook}#factor`;
export const valueFeed = (hook: string): string => `${hook}#value`;

/** The feed that says with which weight the scalar reads each entry of a hook. */
export const seedFeed = (hook: string): string => `${hook}#seed`;
/** The gradient by a hook's value, or by a segment's `resid_in` or `resid_out`. */
export const gradientOf = (hook: string): string => `${hook}#gradient`;
