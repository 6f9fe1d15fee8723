export {
  activationsFromHooks,
  type CaptureScope,
  type HostActivations,
  hooksOf,
  type LayerActivations,
  requireTwinLength,
} from './host-activations.ts';
export { hostBytes } from './host-bytes.ts';
export {
  hostFromModel,
  hostLayerRoles,
  hostRoles,
  hostUnembeddingRoles,
  type ReadWeight,
} from './host-from-model.ts';
export { HeadReads, HostRun, type ResidualSource, softmax } from './host-run.ts';
export type {
  Affine,
  HostLayerWeights,
  HostShape,
  HostWeights,
  Rotary,
  Unembedding,
} from './host-weights.ts';
export { PATTERN_TOLERANCE, SUM_TOLERANCE, TWIN_RATE, TWIN_TOKENS_MAX } from './limits.ts';
export { type BeforeNorm, ProcessedHost, type ProcessedLayer } from './processed-host.ts';
export { type HostScope, readHost } from './read-host.ts';
export { rotated } from './rotary.ts';
export {
  TINY_KINDS,
  type TinyHost,
  type TinyKind,
  type TinyLayer,
  tinyForward,
  tinyHost,
} from './tiny-host.reference.ts';
export { FoldedUnembedding } from './unembedding.ts';
