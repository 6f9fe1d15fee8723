export {
  type AccppOptions,
  accppSteps,
  type BasisOf,
  basisCache,
  type Trace,
  traceAccpp,
} from './accpp.reference.ts';
export { type Component, type Firing, type SideTrace, traceSide } from './firing.reference.ts';
export type { NodeKind, TraceEdge, TraceGraph, TraceNode } from './graph.ts';
export { type HeadBasis, headBasis } from './head-basis.ts';
export { igOfSoftmax, igWeights } from './integrated-gradients.reference.ts';
export {
  DYNAMIC_THRESHOLD,
  IG_STEPS,
  NODES_MAX,
  PROBABILITY_SHARE,
  REMOVALS_MAX,
  SAD_EDGE_SHARE,
  SAD_FIRING,
} from './limits.ts';
export { localEdit, type ScoreEdit } from './local-edit.reference.ts';
export {
  type AugmentedPair,
  augmentedPair,
  type HeadContribution,
  type HeadFiring,
  keepLargest,
  type SadOptions,
  type Slice,
  sadSteps,
  selectSlices,
  traceSad,
  upstreamHeads,
} from './sad.reference.ts';
export {
  objectiveOf,
  type Question,
  type Seed,
  type Seeding,
  type SeedSource,
  seedsOf,
} from './seeds.reference.ts';
