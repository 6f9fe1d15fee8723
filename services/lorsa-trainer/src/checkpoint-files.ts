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
  ownCheckpoint,
  type TrainingState,
  weightsOf,
} from '@heddle/interp/lorsa';
import type { Blobs, Hub, ModelFolder } from '@heddle/ports';
import { decodeOutcome } from '@heddle/ports';
import { CHECKPOINT_BYTES_MAX } from './limits.ts';
import { digestOfTensors } from './programs.ts';

/** Under this key of `__metadata__` a file carries its own config.json, so that it can be used without its folder. */
const CONFIG_KEY = 'heddle.config';
/** Under this one, what it was made from and how. */
const PROVENANCE_KEY = 'heddle';

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
  const parts = ownCheckpoint(layer);
  const metadata = ownMetadata(provenance, writeLorsaConfigJson(parts.config));
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
  return openedFiles(await checkpointFiles(sources, name));
}

/** A checkpoint's two files, nothing of them checked yet. */
export interface CheckpointFiles {
  readonly configText: string;
  readonly weights: Safetensors;
}

/** The files of a checkpoint by name, as `openCheckpoint` finds them. */
export async function checkpointFiles(
  sources: CheckpointSources,
  name: string,
): Promise<CheckpointFiles> {
  if (name === '') throw invalidArgument('no checkpoint named', { field: 'checkpoint' });
  const isPath = name.includes('/') || /\.(safetensors|pt|dcp)$/.test(name) || name === '.';
  const { configText, weights } = isPath
    ? await fromPath(sources.hub, name)
    : await fromJob(sources, name);
  const text = configText ?? weights.header.metadata.get(CONFIG_KEY);
  if (text !== undefined) return { configText: text, weights };
  throw invalidArgument(
    `${weights.header.file} stands alone: its ${LORSA_CONFIG_FILE} is missing`,
    { field: 'checkpoint' },
  );
}

/** The layer of two files, read strictly. */
export function openedFiles({ configText, weights }: CheckpointFiles): OpenCheckpoint {
  const layer = layerFromCheckpoint(readLorsaCheckpoint(configText, weights));
  const tensors = weights.names().map((each) => [each, weights.tensor(each)] as const);
  const digest = digestOfTensors(configText, tensors);
  return { layer, provenance: fileProvenance(weights), digest };
}

/** What the file says about where it came from; nothing depends on it. */
export function fileProvenance(weights: Safetensors): Readonly<Record<string, Json>> {
  return provenanceOf(weights.header.metadata.get(PROVENANCE_KEY));
}

/** `__metadata__` of a file that can be used without its folder. */
export function ownMetadata(
  provenance: Readonly<Record<string, Json>>,
  configText: string,
): Readonly<Record<string, string>> {
  return { [PROVENANCE_KEY]: canonicalJson(provenance), [CONFIG_KEY]: configText };
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

/** Where a folder keeps its weights, in the order in which the reference looks. */
const PLACES = [
  ['', LORSA_WEIGHTS_FILE],
  ['checkpoints', 'pruned.safetensors'],
  ['checkpoints', 'final.safetensors'],
] as const;

async function fromPath(hub: Hub, path: string): Promise<Files> {
  const slash = path.lastIndexOf('/');
  const name = path.slice(slash + 1);
  if (/\.(pt|dcp)$/.test(name)) throw notSafetensors(path, name);
  if (name.endsWith('.safetensors')) {
    const folder = await hub.open(path.slice(0, Math.max(0, slash)) || '.');
    if (!folder.files.includes(name)) throw missing(folder, name);
    return { configText: await configOf(folder), weights: await readWeights(folder, name) };
  }
  const top = await hub.open(path);
  for (const [below, file] of PLACES) {
    if (below !== '' && !top.files.includes(below)) continue;
    const folder = below === '' ? top : await hub.open(`${path}/${below}`);
    if (!folder.files.includes(file)) continue;
    return { configText: await configOf(top), weights: await readWeights(folder, file) };
  }
  throw missing(top, LORSA_WEIGHTS_FILE);
}

async function configOf(folder: ModelFolder): Promise<string | undefined> {
  if (!folder.files.includes(LORSA_CONFIG_FILE)) return undefined;
  return folder.readText(LORSA_CONFIG_FILE, 2 ** 20);
}

async function readWeights(folder: ModelFolder, file: string): Promise<Safetensors> {
  const handle = await folder.open(file);
  try {
    if (handle.bytes > CHECKPOINT_BYTES_MAX) {
      throw invalidArgument(`${file} has ${handle.bytes} bytes; at most ${CHECKPOINT_BYTES_MAX}`, {
        field: 'checkpoint',
      });
    }
    return readSafetensors(file, await handle.read(0, handle.bytes));
  } finally {
    await handle.close();
  }
}

/** Says which of the format's other containers is there, and why it is not read. */
function missing(folder: ModelFolder, file: string): Error {
  const other = folder.files.find((name) => /\.(pt|dcp)$/.test(name));
  if (other) return notSafetensors(folder.path, other);
  return invalidArgument(`${folder.path}: ${file} is missing`, { field: 'checkpoint' });
}

function notSafetensors(path: string, name: string): Error {
  const why = name.endsWith('.pt')
    ? 'is a pickled PyTorch file, which can run code when it is opened'
    : 'is a PyTorch distributed checkpoint (DCP), which only PyTorch reads';
  return invalidArgument(
    `${path}: ${name} ${why}: load it there and save the state dict as ${LORSA_WEIGHTS_FILE} (safetensors.torch.save_file)`,
    { field: 'checkpoint' },
  );
}

async function fromJob({ blobs, jobResult }: CheckpointSources, id: string): Promise<Files> {
  const { artifacts } = decodeOutcome(await jobResult(id));
  const find = (name: string) => artifacts.find((artifact) => artifact.name === name);
  const weights = find('checkpoint.safetensors');
  if (!weights) {
    throw failedPrecondition(`job ${id} made no checkpoint`, { field: 'checkpoint' });
  }
  const bytes = await blobs.read(weights.digest);
  return { configText: undefined, weights: readSafetensors(`checkpoint of job ${id}`, bytes) };
}
