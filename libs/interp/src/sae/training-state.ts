import { canonicalJson, dataLoss, type Json, type RngState } from '@heddle/core';
import { readSafetensors, type Safetensors, writeSafetensors } from '@heddle/formats';
import { showShape, type Tensor, tensor, zeros } from '@heddle/tensor';
import { stateFeeds } from '../lorsa/state-feeds.ts';
import { mapSae, SAE_PARAMETERS, type SaeConfig, type SaeWeights } from './sae-config.ts';
import { SAE_STATE, saeStateShape } from './train-graph.ts';

/** Everything that the next step depends on: stopped here and taken up again, a training goes on to the same bits. */
export interface SaeTrainingState {
  readonly config: SaeConfig;
  /** Steps done. */
  readonly step: number;
  /** Position in the epoch's order of sequences, and that order's generator as it stood before the epoch was drawn. */
  readonly cursor: number;
  readonly epochRng: RngState;
  /** Parameters and Adam's moments under their feed names. */
  readonly tensors: Readonly<Record<string, Tensor<'f32'>>>;
  /** Tokens since each feature last fired, `[feature]`. */
  readonly silentTokens: Float64Array;
}

/** A short training at one learning rate, and what it left; null: it blew up. */
export interface SaePilot {
  readonly rate: number;
  readonly fvu: number | null;
}

/** What bit-equal resuming also depends on. */
export interface SaeManifest {
  /** Digest of the request, so that a checkpoint cannot continue another training. */
  readonly request: string;
  readonly engine: string;
  readonly threads: number;
  /** The learning rates that were tried so far. */
  readonly pilots: readonly SaePilot[];
}

const FORMAT = 'heddle.sae.training/1';

const single = (t: Tensor<'f32' | 'f64'>): Tensor<'f32'> =>
  tensor('f32', t.shape, Float32Array.from(t.data));

/** The state before the first step: given weights, moments zero. */
export function initialSaeState(
  config: SaeConfig,
  weights: SaeWeights,
  epochRng: RngState,
): SaeTrainingState {
  const tensors: Record<string, Tensor<'f32'>> = {};
  for (const name of SAE_PARAMETERS) {
    const feeds = stateFeeds(name);
    tensors[feeds.p] = single(weights[name]);
    tensors[feeds.m] = zeros('f32', weights[name].shape);
    tensors[feeds.v] = zeros('f32', weights[name].shape);
  }
  const silentTokens = new Float64Array(config.d_sae);
  return { config, step: 0, cursor: 0, epochRng, tensors, silentTokens };
}

/** The weights as they stand. */
export function saeWeightsOf({ tensors }: SaeTrainingState): SaeWeights<Tensor<'f32'>> {
  return mapSae(tensors as unknown as SaeWeights<Tensor<'f32'>>, (t) => t);
}

/** One blob, all or nothing. */
export function encodeSaeState(state: SaeTrainingState, manifest: SaeManifest): Uint8Array {
  const { config, step, cursor, epochRng, tensors, silentTokens } = state;
  return writeSafetensors(
    { ...tensors, silent_tokens: tensor('f64', [silentTokens.length], silentTokens) },
    { format: FORMAT, state: canonicalJson({ config, step, cursor, epochRng, manifest }) },
  );
}

type Header = Pick<SaeTrainingState, 'config' | 'step' | 'cursor' | 'epochRng'> & {
  readonly manifest: SaeManifest;
};

/** Reads what `encodeSaeState` wrote. Errors: `data_loss` for anything else, naming what is wrong. */
export function decodeSaeState(bytes: Uint8Array): {
  readonly state: SaeTrainingState;
  readonly manifest: SaeManifest;
} {
  let file: Safetensors;
  let header: Header;
  try {
    file = readSafetensors('checkpoint', bytes);
    header = JSON.parse(file.header.metadata.get('state') ?? '') as Json as unknown as Header;
  } catch (cause) {
    throw dataLoss('the checkpoint of an autoencoder is damaged', { cause });
  }
  const format = file.header.metadata.get('format');
  if (format !== FORMAT) throw dataLoss(`the checkpoint has format ${format}, not ${FORMAT}`);
  const { manifest, ...rest } = header;
  const take = <D extends 'f32' | 'f64'>(name: string, dtype: D, shape: readonly number[]) => {
    if (!file.header.tensors.has(name)) throw dataLoss(`the checkpoint lacks ${name}`);
    const t = file.tensor(name);
    if (t.dtype === dtype && showShape(t.shape) === showShape(shape)) return t as Tensor<D>;
    throw dataLoss(`${name} in the checkpoint is ${t.dtype} ${showShape(t.shape)}`);
  };
  const tensors = Object.fromEntries(
    SAE_STATE.map((feed) => [feed, take(feed, 'f32', saeStateShape(rest.config, feed))]),
  );
  const { data } = take('silent_tokens', 'f64', [rest.config.d_sae]);
  return { state: { ...rest, tensors, silentTokens: data }, manifest };
}
