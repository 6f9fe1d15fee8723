import { assert, failedPrecondition } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import type { LorsaLayer } from '../checkpoint.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import { type LorsaWeights, mapWeights, toF32 } from '../lorsa-weights.ts';
import { foldDecoderNorms, foldNormalisation, scaleFactors } from '../normalisation.ts';

export interface InspectedLayer {
  readonly config: LorsaConfig;
  readonly weights: LorsaWeights<Tensor<'f32'>>;
}

/**
 * *The layer as it is looked at* (methods 1.4): normalisation folded, so that it reads the host's own x, and decoder norms
 * folded, so that z is in units of what is written and ‖w_o‖ = 1. Without the decoder norm in the gate the second would
 * change who wins, and with learned thresholds it would need theirs: those keep their norms. Errors: `failed_precondition` for `token-wise` and
 * `batch-wise`, whose scale is no constant.
 */
export function forInspection(layer: LorsaLayer): InspectedLayer {
  const { config, normalisation, norms } = layer;
  if (normalisation === 'token-wise' || normalisation === 'batch-wise') {
    throw failedPrecondition(
      `${normalisation} normalisation has no constant scale that could be folded; train or export the layer with dataset-wise`,
      { field: 'checkpoint' },
    );
  }
  assert(normalisation === 'inference' || norms, 'a dataset-wise layer carries its norms');
  const raw =
    normalisation === 'dataset-wise' && norms
      ? foldNormalisation(layer.weights, scaleFactors(config.d_model, norms))
      : layer.weights;
  const folds = config.decoderNormInGate && config.activation !== 'jumprelu';
  const folded = folds ? foldDecoderNorms(config, raw) : raw;
  return { config, weights: mapWeights(folded, toF32) };
}
