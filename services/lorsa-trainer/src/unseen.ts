import type { TaskContext } from '@heddle/actor';
import { failedPrecondition, invalidArgument, OperationError } from '@heddle/core';
import type { ActivationShard } from '@heddle/formats';
import { type BlobDigest, type Blobs, decodeOutcome, type Hub } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import type { ActivationSource } from './activation-source.ts';
import { type OpenCheckpoint, openCheckpoint } from './checkpoint-files.ts';
import { LayerShards } from './layer-shards.ts';
import type { LorsaDeps } from './part.ts';
import { rowsOf } from './shard-rows.ts';
import type { DataRequest } from './train-request.ts';
import { documentHashes, trainedDocuments } from './trained-documents.ts';
import { type ResultDeps, trainingResult } from './training-result.ts';
import { unseenRows } from './unseen-rows.ts';

export interface UnseenRequest {
  /** A job's id or a path. */
  readonly checkpoint: string;
  /** Empty: the checkpoint's own. */
  readonly model: string;
  /** Without text: the held-out part of the training's own. `tokens_max` then takes that many, spread evenly. */
  readonly data: DataRequest;
}

/** Whole sequences at the checkpoint's hooks in the host's units, padded on the right. */
export interface UnseenShard {
  /** `[batch, pos, d_model]` at hook_in, and at hook_out. */
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  /** `[batch, pos]`: 0 for padding and special tokens. */
  readonly valid: Tensor<'u8'>;
  /** `[batch, pos]`, 0 on padding. */
  readonly tokens: Int32Array;
  /** `[batch]`: tokens without padding. */
  readonly lengths: Int32Array;
  /** `[batch]`: hash of the document that a sequence was cut from. */
  readonly documents: readonly bigint[];
}

/** Activations of text that a checkpoint was not trained on. */
export interface Unseen {
  readonly checkpoint: OpenCheckpoint;
  readonly model: string;
  readonly source: 'held-out' | 'given' | 'generated';
  readonly sequences: number;
  /** Tokens that count in metrics. */
  readonly tokens: number;
  readonly documents: number;
  /** Documents of the text that the training saw. */
  readonly leftOut: number;
  /** False for a checkpoint of which nobody knows what it was trained on. */
  readonly trainedOnKnown: boolean;
  /** Over the host, the hook points and every token id that `shards` gives. */
  readonly dataDigest: string;
  /** Blobs that `shards` reads: name them in checkpoints. */
  readonly references: readonly BlobDigest[];
  /** In the same order every time, without the first `from`. One shard is in memory at a time. */
  shards(from?: number): AsyncIterable<UnseenShard>;
}

export interface UnseenDeps {
  readonly blobs: Blobs;
  readonly hub: Hub;
  readonly activations: ActivationSource;
  readonly jobResult: (id: string) => Promise<Uint8Array>;
  /** Digest of a model by name. */
  readonly modelDigest: (model: string) => Promise<string>;
}

export function unseenDeps({
  blobs,
  hub,
  jobs,
  activations,
  peers,
}: Pick<LorsaDeps, 'blobs' | 'hub' | 'activations' | 'peers'> & {
  readonly jobs: ResultDeps['jobs'];
}): UnseenDeps {
  return {
    blobs,
    hub,
    activations,
    jobResult: trainingResult({ blobs, jobs }),
    modelDigest: async (model) =>
      (await peers.activation.DescribeModel({ model })).model?.digest ?? '',
  };
}

type Waiting = Pick<TaskContext, 'signal' | 'pulse' | 'progress'>;

/**
 * Opens a checkpoint and text that it has not seen. Errors: `failed_precondition` when no such text is left, naming how
 * many documents were left out; `invalid_argument` for another host; those of the checkpoint and of the pass over the text.
 */
export async function openUnseen(
  deps: UnseenDeps,
  context: Waiting,
  request: UnseenRequest,
): Promise<Unseen> {
  const checkpoint = await openCheckpoint(deps, request.checkpoint);
  const { provenance } = checkpoint;
  const model = request.model === '' ? textOf(provenance['model']) : request.model;
  // What was held out was captured from the checkpoint's own host, whatever model is named: see for it before.
  if (request.model !== '') requireOwnHost(checkpoint, await deps.modelDigest(model));
  const trained = await trainedOn(deps, request.checkpoint, checkpoint);
  const { source, shards } = await textFor(deps, context, { request, checkpoint, model, trained });
  requireHost(checkpoint, shards);
  const parts = source === 'held-out' ? shards.heldOut : shards.manifest.shards;
  const most = source === 'held-out' ? request.data.tokens_max : 0;
  const kept = await unseenRows(shards, parts, { trained: trained?.documents, most });
  if (kept.sequences === 0) throw nothingLeft(kept.leftOut);
  return {
    ...kept,
    checkpoint,
    model,
    source,
    trainedOnKnown: trained !== undefined,
    references: shards.references(),
    shards: async function* (from = 0) {
      for (const { shard, rows } of kept.parts.slice(from)) {
        yield unseenShard(shards, shard, rows);
      }
    },
  };
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** What a checkpoint was trained on. */
interface TrainedOn {
  readonly documents: ReadonlySet<bigint>;
  /** The activations of its training, where they are still here. */
  readonly shards: LayerShards | undefined;
}

/** Undefined for a checkpoint that says nothing about its training. */
async function trainedOn(
  deps: UnseenDeps,
  name: string,
  { layer, provenance }: OpenCheckpoint,
): Promise<TrainedOn | undefined> {
  const digest = textOf(provenance['activations']);
  if (digest === '') return undefined;
  const shards = await LayerShards.open(deps.blobs, digest as BlobDigest, layer).catch(absent);
  const listed = name.includes('/') ? undefined : await documentsOf(deps, name).catch(absent);
  const bytes = listed ?? (shards && (await trainedDocuments(shards).catch(absent)));
  return bytes && { documents: new Set(documentHashes(bytes)), shards };
}

async function documentsOf({ blobs, jobResult }: UnseenDeps, job: string) {
  const { artifacts } = decodeOutcome(await jobResult(job));
  const list = artifacts.find(({ name }) => name === 'documents.bin');
  return list && blobs.read(list.digest);
}

/** What is not here any more; a damaged blob is an error. */
function absent(thrown: unknown): undefined {
  if (OperationError.from(thrown).code !== 'not_found') throw thrown;
}

interface Wanted {
  readonly request: UnseenRequest;
  readonly checkpoint: OpenCheckpoint;
  readonly model: string;
  readonly trained: TrainedOn | undefined;
}

/** The text that was given; else what the training held out; for a checkpoint without either, generated text. */
async function textFor(
  deps: UnseenDeps,
  context: Waiting,
  { request: { data }, checkpoint, model, trained }: Wanted,
): Promise<{ readonly source: Unseen['source']; readonly shards: LayerShards }> {
  const given = data.prompts.length > 0 || data.corpus !== '' || data.activations !== '';
  if (!given && trained) {
    if (trained.shards) return { source: 'held-out', shards: trained.shards };
    throw failedPrecondition(
      'the activations of the training are not kept any more, and its held-out text with them: give text',
      { field: 'data' },
    );
  }
  const { layer } = checkpoint;
  const { hookIn, hookOut, config } = layer;
  const { signal } = context;
  try {
    const hooks = [hookIn, hookOut];
    const question = { model, hooks, data, context: config.n_ctx };
    const job = await deps.activations.start(question, signal);
    const { digest } = await deps.activations.finished(job, {
      signal,
      hooks,
      onProgress: ({ done, total, unit }) =>
        context.progress({ done, total, unit, message: 'capturing activations' }),
    });
    const shards = await LayerShards.open(deps.blobs, digest, layer);
    return { source: given ? 'given' : 'generated', shards };
  } catch (thrown) {
    if (signal.aborted) await context.pulse(); // says why it was told to stop
    throw thrown;
  }
}

function requireHost(checkpoint: OpenCheckpoint, { manifest }: LayerShards): void {
  const { layer } = checkpoint;
  const { d_model } = layer.config;
  const [width] = manifest.hooks.find(({ name }) => name === layer.hookIn)?.shape ?? [];
  if (width !== d_model) {
    throw invalidArgument(`the host's d_model is ${width}; the checkpoint's ${d_model}`, {
      field: 'model',
    });
  }
  requireOwnHost(checkpoint, manifest.model_digest);
}

function requireOwnHost({ provenance }: OpenCheckpoint, digest: string): void {
  const own = textOf(provenance['model_digest']);
  if (own === '' || own === digest) return;
  throw invalidArgument(
    `the checkpoint replaces a layer of the model ${own}; this is the model ${digest}: name its own host, or none`,
    { field: 'model' },
  );
}

async function unseenShard(
  shards: LayerShards,
  shard: ActivationShard,
  rows: readonly number[],
): Promise<UnseenShard> {
  const { x, y, valid, tokens, length, document } = rowsOf(await shards.read(shard), rows);
  return {
    x,
    y,
    valid,
    tokens: tokens.data,
    lengths: length.data,
    documents: documentHashes(document.data),
  };
}

function nothingLeft(leftOut: number): OperationError {
  const why =
    leftOut > 0
      ? `all ${leftOut} documents of this text were trained on`
      : 'this text has no sequence of two tokens or more';
  return failedPrecondition(`${why}: give other text`, { field: 'data' });
}
