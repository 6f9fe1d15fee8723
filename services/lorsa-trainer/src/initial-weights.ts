import type { Rng } from '@heddle/core';
import {
  bestWriteScale,
  centrePreActivations,
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
import type { Sequences } from './sequences.ts';

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
 * rarely positive heads turned round, and the write rows at their best common scale. Heads are centred before they are
 * turned, where that is asked for.
 */
export async function initialWeights(inputs: InitialisationInputs): Promise<Weights> {
  const { settings, host, norms, sample, rng } = inputs;
  const { config, init } = settings;
  const levelA = initialiseLevelA(config, rng);
  if (init === 'xavier') return centred(inputs, levelA);

  const factors = scaleFactors(config.d_model, norms);
  const y = tensor('f32', [sample.valid.data.length, config.d_model], sample.y.data);
  const b_D = meanTarget(y, sample.valid.data);
  const copied = { ...copyHostQK(config, levelA, host.attention, factors.input), b_D };
  if (init === 'orig_heads') return centred(inputs, copied);

  const inside = initialiseActiveSubspace(config, copied, host.attention, rng);
  const turned = await turnedRound(inputs, await centred(inputs, inside));
  return atBestScale(inputs, turned, y);
}

/** The weights with mean pre-activation 0 on the sample, if that was asked for. */
async function centred(inputs: InitialisationInputs, weights: Weights): Promise<Weights> {
  if (!inputs.settings.centrePreActivations) return weights;
  const pre = await preActivations(inputs, weights);
  return centrePreActivations(weights, pre, inputs.sample.valid.data);
}

/** A signed head has no side that is let through: there is nothing to turn. */
async function turnedRound(inputs: InitialisationInputs, weights: Weights): Promise<Weights> {
  const { config } = inputs.settings;
  if (config.signed) return weights;
  const pre = await preActivations(inputs, weights);
  return flipRarelyPositive(config, weights, pre, inputs.sample.valid.data);
}

async function preActivations({ settings, sample, evaluate }: InitialisationInputs, of: Weights) {
  const shape = [sample.valid.data.length, settings.config.n_ov_heads];
  return tensor('f32', shape, floats(await evaluate(of, ['pre']), 'pre'));
}

async function atBestScale(
  { settings, sample, evaluate }: InitialisationInputs,
  weights: Weights,
  y: Tensor<'f32'>,
): Promise<Weights> {
  const { b_D } = weights;
  const output = floats(await evaluate(weights, ['reconstruction']), 'reconstruction');
  const { d_model } = settings.config;
  const written = output.map((value, at) => value - (b_D.data[at % d_model] ?? 0));
  const scale = bestWriteScale(y, tensor('f32', y.shape, written), b_D, sample.valid.data);
  const W_O = { ...weights.W_O, data: weights.W_O.data.map((value) => value * scale) };
  return { ...weights, W_O };
}
