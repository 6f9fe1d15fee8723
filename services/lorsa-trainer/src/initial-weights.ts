import type { Rng } from '@heddle/core';
import {
  bestWriteScale,
  copyHostQK,
  flipRarelyPositive,
  initialiseActiveSubspace,
  initialiseLevelA,
  type LorsaWeights,
  type MeanNorms,
  meanTarget,
  scaleFactors,
} from '@heddle/interp/lorsa';
import type { Outputs } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { floats } from './compute.ts';
import type { HostLayer } from './host-layer.ts';
import type { TrainSettings } from './lorsa-settings.ts';
import type { Sequences } from './training-data.ts';

type Weights = LorsaWeights<Tensor<'f64'>>;

export interface InitialisationInputs {
  readonly settings: TrainSettings;
  readonly host: HostLayer;
  readonly norms: MeanNorms;
  /** One batch, normalised. */
  readonly sample: Sequences;
  readonly rng: Rng;
  /** Runs the evaluation graph on the sample. */
  readonly evaluate: (weights: Weights, keep: readonly string[]) => Promise<Outputs>;
}

/**
 * Where a training starts (methods 1.6). `xavier`: level A. `orig_heads`: queries and keys, with their biases, from the
 * host's heads, and b_D the mean target. `active_subspace`: level B, also read and write rows from the host's circuits,
 * rarely positive heads turned round, and the write rows at their best common scale.
 */
export async function initialWeights(inputs: InitialisationInputs): Promise<Weights> {
  const { settings, host, norms, sample, rng, evaluate } = inputs;
  const { config, init } = settings;
  const levelA = initialiseLevelA(config, rng);
  if (init === 'xavier') return levelA;

  const factors = scaleFactors(config.d_model, norms);
  const y = tensor('f32', [sample.valid.data.length, config.d_model], sample.y.data);
  const valid = sample.valid.data;
  const b_D = meanTarget(y, valid);
  const copied = { ...copyHostQK(config, levelA, host.attention, factors.input), b_D };
  if (init === 'orig_heads') return copied;

  const inside = initialiseActiveSubspace(config, copied, host.attention, rng);
  const pre = floats(await evaluate(inside, ['pre']), 'pre');
  const shape = [valid.length, config.n_ov_heads];
  const turned = flipRarelyPositive(config, inside, tensor('f32', shape, pre), valid);
  const output = floats(await evaluate(turned, ['reconstruction']), 'reconstruction');
  const written = output.map((value, at) => value - (b_D.data[at % config.d_model] ?? 0));
  const scale = bestWriteScale(y, tensor('f32', y.shape, written), b_D, valid);
  const W_O = { ...turned.W_O, data: turned.W_O.data.map((value) => value * scale) };
  return { ...turned, W_O };
}
