export type { FieldRule, FieldTable } from './config/field-table.ts';
export type { Activation, Family, ModelConfig, Rotary } from './config/model-config.ts';
export { FAMILIES } from './config/model-config.ts';
export { FIELD_TABLES, type ReadConfig, readModelConfig } from './config/read-model-config.ts';
export {
  estimateForward,
  type ForwardEstimate,
  type ForwardSizes,
} from './forward/estimate-forward.ts';
export {
  type BatchSizes,
  type Intervention,
  interventionFeeds,
} from './forward/interventions.ts';
export {
  type ForwardPlan,
  type ForwardRequest,
  type ForwardStep,
  type HookSource,
  planForward,
} from './forward/plan-forward.ts';
export { sliceHook } from './forward/slice-hook.ts';
export {
  type ForwardInputs,
  padTokens,
  rotaryTables,
  type StepFeed,
  stepFeeds,
} from './forward/step-feeds.ts';
export { logitGradient, type PlacedTargets } from './gradient/gradient-feeds.ts';
export { type GradientPlan, type GradientRequest, planGradient } from './gradient/plan-gradient.ts';
export { readTarget, type WrittenIndex, type WrittenTerm } from './gradient/read-target.ts';
export {
  type EncodeText,
  placeTarget,
  resolveTarget,
  type TargetTerm,
} from './gradient/resolve-target.ts';
export {
  type HookPoint,
  hookPoint,
  hookPoints,
  type LackingPoint,
  lackingPoints,
  type Segment,
  segmentName,
} from './hooks/catalogue.ts';
export { resolveHooks } from './hooks/resolve-hooks.ts';
export { JSON_CHARS_MAX } from './limits.ts';
export { type Model, type StoredWeight, type WeightDType, weightOf } from './model.ts';
export { buildSegment } from './segments/build-segment.ts';
export {
  factorFeed,
  type GraphProgram,
  PLAIN,
  type SegmentGradient,
  type SegmentRequest,
  valueFeed,
} from './segments/segment-request.ts';
export { type BoundWeights, bindWeights } from './weights/bind-weights.ts';
export { firstNonFinite } from './weights/first-non-finite.ts';
export {
  type AttentionWeights,
  attentionRoles,
  attentionWeights,
  widen,
} from './weights/host-weights.ts';
export { checkShardIndex, readShardIndex } from './weights/shard-index.ts';
export { type WeightSpec, weightSpecs } from './weights/weight-map.ts';
