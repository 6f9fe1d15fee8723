import type { GraphBuilder, Value } from '@heddle/onnx';

/** Computation appended to a segment, next to the model's own: what leaves the engine is then its small answer. */
export interface GraphProgram {
  /** Unique, with whatever changes its structure; part of the session's key. */
  readonly name: string;
  /** Hook points whose values it reads. */
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
