export {
  type AnalysedText,
  analysisFeeds,
  analysisSlots,
  buildAnalysis,
  encodedAnalysis,
  headSequences,
} from './analysis-graph.ts';
export { auroc, type MeanInterval, meanInterval } from './auroc.ts';
export { type ArithmeticFit, arithmeticFit, type SumCell } from './detectors/arithmetic.ts';
export { DETECTORS, type HeadScore, ProbeTally } from './detectors/probe-tally.ts';
export { bucketRange, DISTANCE_BUCKETS, distanceBucket } from './distance-buckets.ts';
export {
  type HeadRoles,
  headRoles,
  type RoleToken,
  TOKEN_ROLES,
  type TokenRole,
} from './head-roles.ts';
export { type HeadRule, learnRule, type RuleToken, ruleText } from './head-rule.ts';
export { referenceSequence } from './head-sequence.reference.ts';
export {
  forEachActive,
  type HeadAttention,
  type HeadRow,
  type HeadSequence,
  zRow,
} from './head-sequence.ts';
export {
  type HeadSample,
  HeadStatistics,
  type StatisticsSizes,
  type TokenOccurrences,
} from './head-statistics.ts';
export { HeldOutText } from './held-out-text.ts';
export { forInspection, type InspectedLayer } from './inspection.ts';
export type { HeadEvent } from './kept-events.ts';
export { HELD_OUT_TOKENS_MAX } from './limits.ts';
export {
  buildHostHeads,
  encodedHostHeads,
  type HostHeads,
  hostHeadsFeeds,
  type OriginalDistribution,
  OriginalHeads,
  type OriginalShares,
} from './original-heads.ts';
export { drawProbes, probeTexts } from './probes/draw-probes.ts';
export {
  DETECTOR_NAMES,
  type DetectorName,
  type NotApplicable,
  type Probe,
  type ProbeSequence,
  type ProbeTarget,
  type ProbeText,
  type ProbeVocabulary,
} from './probes/probe.ts';
export { shuffledProbe } from './probes/shuffled-probe.ts';
export { type RuleScores, ruleHalf, scoreRules } from './rule-scores.ts';
export type { TokenWeight } from './token-counts.ts';
export {
  buildTokenTops,
  encodedTokenTops,
  foldedWrites,
  type TokenEffect,
  TokenEffects,
  TokenTops,
  tokenTopsFeeds,
} from './token-effects.ts';
