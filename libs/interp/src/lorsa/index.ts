export { applyLorsa, type LorsaApplied, zPatterns } from './apply.reference.ts';
export {
  type LorsaLayer,
  layerFromCheckpoint,
  layerInF64,
  layerToCheckpoint,
  type Normalisation,
} from './checkpoint.ts';
export {
  type LorsaEncoding,
  type LorsaForward,
  lorsaDecode,
  lorsaEncode,
  lorsaForward,
} from './forward.reference.ts';
export { type GateNumbers, gate } from './gate.ts';
export { type LorsaGradients, lorsaGradients } from './gradients.reference.ts';
export { copyHostQK, type HostAttention, initialiseLevelA, meanTarget } from './initialise.ts';
export {
  checkLorsaConfig,
  groupSize,
  type LorsaActivation,
  type LorsaConfig,
  qkHeadOf,
} from './lorsa-config.ts';
export {
  decoderNorms,
  type LorsaParameter,
  type LorsaWeights,
  mapWeights,
  parameterNames,
  parameterShape,
  type Real,
  toF32,
  toF64,
  zeroWeights,
} from './lorsa-weights.ts';
export { lorsaLoss, tokenWeights } from './loss.reference.ts';
export {
  addSums,
  countSilence,
  type DeadCounter,
  deadHeads,
  emptySums,
  figures,
  type LorsaFigures,
  type LorsaSums,
  measure,
  relativeL2,
} from './metrics.ts';
export {
  foldDecoderNorms,
  foldNormalisation,
  type MeanNorms,
  meanNorm,
  type ScaleFactors,
  scaleFactors,
} from './normalisation.ts';
export {
  type RotaryConfig,
  type RotaryScaling,
  rotaryFrequencies,
  rotaryTable,
  rotate,
} from './rotary.ts';
export {
  K_SHAPES,
  type KSchedule,
  type KShape,
  type LearningRate,
  learningRateAt,
  topKAt,
} from './schedule.ts';
export { shownSources, zPattern } from './z-pattern.ts';
