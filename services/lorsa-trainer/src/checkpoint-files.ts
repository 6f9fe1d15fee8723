import { canonicalJson, failedPrecondition, invalidArgument, type Json } from '@heddle/core';
import {
  LORSA_CONFIG_FILE,
  LORSA_WEIGHTS_FILE,
  readLorsaCheckpoint,
  readSafetensors,
  type Safetensors,
  writeLorsaCheckpoint,
  writeLorsaConfigJson,
} from '@heddle/formats';
import {
  type LorsaLayer,
  layerFromCheckpoint,
  layerToCheckpoint,
  type TrainingState,
  weightsOf,
} from '@heddle/interp/lorsa';
import type { Blobs, Hub, ModelFolder } from '@heddle/ports';
import { decodeOutcome } from '@heddle/ports';
import { CHECKPOINT_BYTES_MAX } from './limits.ts';
import { digestOfTensors } from './programs.ts';

/** Under this key of `__metadata__` a file carries its own config.json, so that it can be used without its folder. */
const CONFIG_KEY = 'heddle.config';

/** The trained layer in the published format: config.json and weights, dataset-wise with the measured norms. */
export function writeCheckpoint(
  hooks: Pick<LorsaLayer, 'hookIn' | 'hookOut'>,
  state: TrainingState,
  provenance: Readonly<Record<string, Json>>,
): { readonly configText: string; readonly weights: Uint8Array } {
  const { hookIn, hookOut } = hooks;
  const layer: LorsaLayer = {
    config: state.config,
    weights: weightsOf(state),
    hookIn,
    hookOut,
    normalisation: 'dataset-wise',
    norms: state.norms,
  };
  const parts = layerToCheckpoint(layer);
  const metadata = {
    heddle: canonicalJson(provenance),
    [CONFIG_KEY]: writeLorsaConfigJson(parts.config),
  };
  return writeLorsaCheckpoint({ ...parts, metadata });
}

export interface CheckpointSources {
  readonly blobs: Blobs;
  readonly hub: Hub;
  /** The result's bytes of a finished job; errors as the job runtime's. */
  readonly jobResult: (id: string) => Promise<Uint8Array>;
}

/** What a checkpoint holds, and what its file says about where it came from. */
export interface OpenCheckpoint {
  readonly layer: LorsaLayer;
  readonly provenance: Readonly<Record<string, Json>>;
  /** Over its config and every tensor. */
  readonly digest: string;
}

/**
 * A checkpoint by name: a path (its folder or its file), or a training's job id. Errors: `invalid_argument` naming what is
 * wrong with the file; those of the hub and of the job.
 */
export async function openCheckpoint(
  sources: CheckpointSources,
  name: string,
): Promise<OpenCheckpoint> {
  if (name === '') throw invalidArgument('no checkpoint named', { field: 'start.checkpoint' });
  const isPath = name.includes('/') || name.endsWith('.safetensors') || name === '.';
  const { configText, weights } = isPath
    ? await fromPath(sources.hub, name)
    : await fromJob(sources, name);
  return opened(configText, weights);
}

function opened(configText: string | undefined, weights: Safetensors): OpenCheckpoint {
  const { metadata } = weights.header;
  const text = configText ?? metadata.get(CONFIG_KEY);
  if (text === undefined) {
    throw invalidArgument(
      `${weights.header.file} stands alone: its ${LORSA_CONFIG_FILE} is missing`,
      {
        field: 'start.checkpoint',
      },
    );
  }
  const layer = layerFromCheckpoint(readLorsaCheckpoint(text, weights));
  const tensors = weights.names().map((each) => [each, weights.tensor(each)] as const);
  const digest = digestOfTensors(text, tensors);
  return { layer, provenance: provenanceOf(metadata.get('heddle')), digest };
}

function provenanceOf(text: string | undefined): Readonly<Record<string, Json>> {
  try {
    const value = JSON.parse(text ?? '{}') as Json;
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, Json>)
      : {};
  } catch {
    return {}; // other people's metadata under our key: nothing depends on it
  }
}

interface Files {
  readonly configText: string | undefined;
  readonly weights: Safetensors;
}

async function fromPath(hub: Hub, path: string): Promise<Files> {
  const slash = path.lastIndexOf('/');
  const file = path.endsWith('.safetensors') ? path.slice(slash + 1) : LORSA_WEIGHTS_FILE;
  const folderPath = path.endsWith('.safetensors')
    ? path.slice(0, Math.max(0, slash)) || '.'
    : path;
  const folder = await hub.open(folderPath);
  if (!folder.files.includes(file)) throw missing(folder, file);
  const hasConfig = folder.files.includes(LORSA_CONFIG_FILE);
  const configText = hasConfig ? await folder.readText(LORSA_CONFIG_FILE, 2 ** 20) : undefined;
  const handle = await folder.open(file);
  try {
    if (handle.bytes > CHECKPOINT_BYTES_MAX) {
      throw invalidArgument(`${file} has ${handle.bytes} bytes; at most ${CHECKPOINT_BYTES_MAX}`, {
        field: 'start.checkpoint',
      });
    }
    return { configText, weights: readSafetensors(file, await handle.read(0, handle.bytes)) };
  } finally {
    await handle.close();
  }
}

/** Says which of the format's other containers is there, and why it is not read. */
function missing(folder: ModelFolder, file: string): Error {
  const other = folder.files.find((name) => /\.(pt|dcp)$/.test(name));
  const why = other
    ? `${other} is a PyTorch file, which can run code when it is opened: convert it to safetensors`
    : `${file} is missing`;
  return invalidArgument(`${folder.path}: ${why}`, { field: 'start.checkpoint' });
}

async function fromJob({ blobs, jobResult }: CheckpointSources, id: string): Promise<Files> {
  const { artifacts } = decodeOutcome(await jobResult(id));
  const find = (name: string) => artifacts.find((artifact) => artifact.name === name);
  const weights = find('checkpoint.safetensors');
  if (!weights) {
    throw failedPrecondition(`job ${id} made no checkpoint`, { field: 'start.checkpoint' });
  }
  const bytes = await blobs.read(weights.digest);
  return { configText: undefined, weights: readSafetensors(`checkpoint of job ${id}`, bytes) };
}
