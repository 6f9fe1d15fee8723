import { assert, failedPrecondition } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import type { LorsaLayer } from '../checkpoint.ts';
import type { LorsaConfig } from '../lorsa-config.ts';
import { type LorsaWeights, mapWeights, toF32 } from '../lorsa-weights.ts';
import { foldDecoderNorms, foldLayerNormalisation, scaleFactors } from '../normalisation.ts';

export interface InspectedLayer {
  readonly config: LorsaConfig;
  readonly weights: LorsaWeights<Tensor<'f32'>>;
}

/**
 * *The layer as it is looked at* (methods 1.4): normalisation folded, so that it reads the host's own x, and decoder norms
 * folded, so that z is in units of what is written and ‖w_o‖ = 1. What competes, z̃ ‖w_o‖, is the same after the second fold,
 * and so are learned thresholds; without the decoder norm in the gate it would change who wins: such a layer keeps its norms. Errors:
 * `failed_precondition` for `token-wise` and `batch-wise`, whose scale is no constant.
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
      ? foldLayerNormalisation(config, layer.weights, scaleFactors(config.d_model, norms))
      : layer.weights;
  const folded = config.decoderNormInGate ? foldDecoderNorms(config, raw) : raw;
  return { config, weights: mapWeights(folded, toF32) };
}
