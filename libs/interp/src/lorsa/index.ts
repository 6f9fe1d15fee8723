export {
  bestWriteScale,
  centrePreActivations,
  flipRarelyPositive,
  initialiseActiveSubspace,
} from './active-subspace.ts';
export { ADAM_DEFAULTS, type AdamConfig, CLIP_EPSILON } from './adam.ts';
export {
  applyFactors,
  applyGate,
  applyLorsa,
  type LorsaApplied,
  zPatterns,
} from './apply.reference.ts';
export { type EncodingOutputs, encodedEncoding, encodingFeeds } from './apply-graph.ts';
export { AUX, SILENT_MAX } from './auxiliary-graph.ts';
export {
  type LorsaLayer,
  layerFromCheckpoint,
  layerToCheckpoint,
  type Normalisation,
  ownCheckpoint,
  rotaryTablesOf,
} from './checkpoint.ts';
export {
  type LorsaEncoding,
  type LorsaForward,
  lorsaDecode,
  lorsaEncode,
  lorsaForward,
} from './forward.reference.ts';
export { layerInputs, lorsaGraph, parameterInputs, rotaryFeeds } from './forward-graph.ts';
export { type GateNumbers, gate } from './gate.ts';
export { type LorsaGradients, lorsaGradients } from './gradients.reference.ts';
export { graphBackend, rotaryTables } from './graph-backend.ts';
export { type HostPositions, rotaryOfHost } from './host-rotary.ts';
export { copyHostQK, type HostAttention, initialiseLevelA, meanTarget } from './initialise.ts';
export { referenceKernels } from './kernels.reference.ts';
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
  DENSE_FREQUENCY,
  type DeadCounter,
  deadHeads,
  emptySums,
  figures,
  type LorsaFigures,
  type LorsaSums,
  measure,
} from './metrics.ts';
export {
  foldDecoderNorms,
  foldLayerNormalisation,
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
export { sparseBackend, sparseSizes } from './sparse-backend.ts';
export type {
  RowGradients,
  SparseBatch,
  SparseChoice,
  SparseGate,
  SparseKernels,
  SparsePairs,
  SparseSizes,
  SparseSums,
  SparseUpdate,
} from './sparse-kernels.ts';
export { nextName, stateFeeds } from './state-feeds.ts';
export { type StepCost, stepCost } from './step-cost.ts';
export type {
  AuxiliarySettings,
  BackendOptions,
  GraphEngine,
  StateTensors,
  StepReport,
  TrainBackend,
  TrainStep,
} from './train-backend.ts';
export {
  buildTrainStep,
  encodedEvaluation,
  stepFeeds,
} from './train-graph.ts';
export {
  decodeTrainingState,
  encodeTrainingState,
  initialState,
  type TrainingManifest,
  type TrainingState,
  weightsOf,
} from './training-state.ts';
export { zPattern } from './z-pattern.ts';
