import { assert, canonicalJson, dataLoss, type Json, type RngState } from '@heddle/core';
import { readSafetensors, type Safetensors, writeSafetensors } from '@heddle/formats';
import { showShape, type Tensor, tensor, zeros } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import {
  type LorsaParameter,
  type LorsaWeights,
  parameterNames,
  parameterShape,
  toF32,
} from './lorsa-weights.ts';
import type { DeadCounter } from './metrics.ts';
import type { MeanNorms } from './normalisation.ts';
import { stateFeeds } from './state-feeds.ts';

/** Everything that the next step depends on: a training stopped here and taken up again goes on to the same bits. */
export interface TrainingState {
  readonly config: LorsaConfig;
  /** Steps done. */
  readonly step: number;
  /** Position in the epoch's order of sequences, and that order's generator as it stood before the epoch was drawn. */
  readonly cursor: number;
  readonly epochRng: RngState;
  /** Parameters and Adam's moments under their feed names. */
  readonly tensors: Readonly<Record<string, Tensor<'f32'>>>;
  readonly dead: DeadCounter;
  readonly norms: MeanNorms;
}

/** What bit-equal resuming also depends on; kept to be compared, not to be computed with. */
export interface TrainingManifest {
  /** Digest of the request, so that a checkpoint cannot continue another training. */
  readonly request: string;
  /** `onnxruntime-node 1.30.0, AVX512 …` and threads: other ones round differently. */
  readonly engine: string;
  readonly threads: number;
  /** Blobs of the captured activations, in order. */
  readonly shards: readonly string[];
}

const FORMAT = 'heddle.lorsa.training/1';

/** The state before the first step: given weights, moments zero. */
export function initialState(
  config: LorsaConfig,
  weights: LorsaWeights,
  start: { readonly epochRng: RngState; readonly norms: MeanNorms },
): TrainingState {
  const tensors: Record<string, Tensor<'f32'>> = {};
  for (const name of parameterNames(config)) {
    const feeds = stateFeeds(name);
    const value = weights[name];
    assert(value, () => `${name} has no initial value`);
    tensors[feeds.p] = toF32(value);
    tensors[feeds.m] = zeros('f32', parameterShape(config, name));
    tensors[feeds.v] = zeros('f32', parameterShape(config, name));
  }
  const dead = { silentTokens: new Float64Array(config.n_ov_heads) };
  return { config, step: 0, cursor: 0, tensors, dead, ...start };
}

/** The layer's weights as they stand. */
export function weightsOf(state: TrainingState): LorsaWeights<Tensor<'f32'>> {
  const { config } = state;
  const trained = parameterNames(config).map((name) => [name, state.tensors[name]] as const);
  const b_D = zeros('f32', parameterShape(config, 'b_D'));
  return { b_D, ...Object.fromEntries(trained) } as unknown as LorsaWeights<Tensor<'f32'>>;
}

/** One blob, all or nothing: tensors, counters, cursor and generator, as safetensors with the rest in its metadata. */
export function encodeTrainingState(state: TrainingState, manifest: TrainingManifest): Uint8Array {
  const { config, step, cursor, epochRng, norms } = state;
  const header = { config, step, cursor, epochRng, norms, manifest };
  const { silentTokens } = state.dead;
  return writeSafetensors(
    { ...state.tensors, silent_tokens: tensor('f64', [silentTokens.length], silentTokens) },
    { format: FORMAT, state: canonicalJson(header) },
  );
}

interface Header {
  readonly config: LorsaConfig;
  readonly step: number;
  readonly cursor: number;
  readonly epochRng: RngState;
  readonly norms: MeanNorms;
  readonly manifest: TrainingManifest;
}

/** Reads what `encodeTrainingState` wrote. Errors: `data_loss` for anything else, naming what is wrong. */
export function decodeTrainingState(bytes: Uint8Array): {
  readonly state: TrainingState;
  readonly manifest: TrainingManifest;
} {
  const file = readFile(bytes);
  const header = readHeader(file);
  const { manifest, ...rest } = header;
  const { config } = rest;
  const take = <D extends 'f32' | 'f64'>(name: string, dtype: D, shape: readonly number[]) => {
    if (!file.header.tensors.has(name)) throw dataLoss(`the checkpoint lacks ${name}`);
    const t = file.tensor(name);
    if (t.dtype !== dtype || showShape(t.shape) !== showShape(shape)) {
      throw dataLoss(`${name} in the checkpoint is ${t.dtype} ${showShape(t.shape)}`);
    }
    return t as Tensor<D>;
  };
  const tensors: Record<string, Tensor<'f32'>> = {};
  for (const name of parameterNames(config)) {
    for (const feed of Object.values(stateFeeds(name))) {
      tensors[feed] = take(feed, 'f32', parameterShape(config, name as LorsaParameter));
    }
  }
  const silent = take('silent_tokens', 'f64', [config.n_ov_heads]);
  return { state: { ...rest, tensors, dead: { silentTokens: silent.data } }, manifest };
}

function readFile(bytes: Uint8Array): Safetensors {
  try {
    return readSafetensors('checkpoint', bytes);
  } catch (cause) {
    throw dataLoss('the checkpoint is damaged', { cause });
  }
}

function readHeader(file: Safetensors): Header {
  const { metadata } = file.header;
  const format = metadata.get('format');
  if (format !== FORMAT) throw dataLoss(`the checkpoint has format ${format}, not ${FORMAT}`);
  try {
    const header = JSON.parse(metadata.get('state') ?? '') as Json;
    // canonicalJson drops undefined members; the config's optional ones come back as undefined.
    const { config, ...rest } = header as unknown as Header;
    return { ...rest, config: { ...config, rotary: config.rotary, qkNormEps: config.qkNormEps } };
  } catch (cause) {
    throw dataLoss('the state in the checkpoint is not JSON', { cause });
  }
}
