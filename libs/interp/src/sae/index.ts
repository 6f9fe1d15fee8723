export { type SaeForward, saeForward } from './forward.reference.ts';
export { type SaeAuxiliary, type SaeGradients, saeGradients } from './gradients.reference.ts';
export { initialiseSae } from './initialise.ts';
export {
  checkSaeConfig,
  mapSae,
  SAE_PARAMETERS,
  type SaeConfig,
  type SaeParameter,
  type SaeWeights,
  saeDecoderNorms,
  saeShape,
} from './sae-config.ts';
export {
  foldSae,
  readSaeFiles,
  SAE_CONFIG_FILE,
  SAE_WEIGHTS_FILE,
  type SaeLayer,
  writeSaeFiles,
} from './sae-files.ts';
export { buildSaeActivations, encodedSaeActivations } from './sae-graph.ts';
export {
  buildSaeLoss,
  buildSaeStep,
  encodedSaeLoss,
  encodedSaeStep,
  SAE_STATE,
} from './train-graph.ts';
export {
  decodeSaeState,
  encodeSaeState,
  initialSaeState,
  type SaeManifest,
  type SaePilot,
  type SaeTrainingState,
  saeWeightsOf,
} from './training-state.ts';
