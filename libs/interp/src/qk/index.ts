export {
  type ContrastFit,
  type ContrastSample,
  contrastiveCovariance,
  energyRank,
  type FitOptions,
  rankAboveNull,
  shuffledNull,
  subspaces,
  type Weighting,
} from './contrastive-covariance.reference.ts';
export {
  type ContrastPositions,
  checkPositions,
  headSample,
  type QueriesAndKeys,
} from './head-samples.ts';
export { NULL_DRAWS, NULL_PERCENTILE, RANK_ENERGY, SAMPLE_BYTES_MAX } from './limits.ts';
export {
  type AttributionMethod,
  attributeLogits,
  joined,
  type LogitAttribution,
  logitsOf,
  type NamedBasis,
  projected,
  swapped,
} from './logit-attribution.reference.ts';
export {
  TOY_SHAPE,
  type Toy,
  type ToyShape,
  toy,
  toyClosedForm,
  toyContrasts,
} from './payload-toy.reference.ts';
