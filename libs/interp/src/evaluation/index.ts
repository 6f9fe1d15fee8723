export {
  addCrossEntropies,
  type CrossEntropySums,
  type DownstreamFigures,
  downstreamFigures,
  emptyCrossEntropies,
  predictionsOf,
} from './downstream.ts';
export {
  buildLorsaEvaluation,
  type EvaluationBatch,
  encodedLorsaEvaluation,
  evaluationConstants,
  evaluationFeeds,
} from './lorsa-evaluation.ts';
export { type Ratio, ratio } from './ratio.ts';
export {
  addMeasures,
  emptyReconstructionSums,
  meanOffset,
  type ReconstructionFigures,
  type ReconstructionSums,
  reconstructionFigures,
  tokensOf,
  zeroFvu,
} from './reconstruction-sums.ts';
export { buildSaeEvaluation, encodedSaeEvaluation } from './sae-evaluation.ts';
