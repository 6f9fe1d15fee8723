import type { Snapshot } from '@heddle/actor';
import { dataLoss, failedPrecondition, invalidArgument, Rng } from '@heddle/core';
import {
  decodeTrainingState,
  initialState,
  type MeanNorms,
  scaleFactors,
  type TrainingManifest,
  type TrainingState,
} from '@heddle/interp/lorsa';
import type { CachedActivations } from './activation-source.ts';
import { openBackend, openUsual } from './backends.ts';
import { BatchReader } from './batch-reader.ts';
import { planEvaluation } from './compute.ts';
import { measuredNorms } from './dataset-norms.ts';
import { initialWeights } from './initial-weights.ts';
import { groupBytesFor, LayerShards } from './layer-shards.ts';
import {
  GROUP_BYTES,
  HELD_OUT_TOKENS,
  INITIAL_SAMPLE_ENTRIES,
  INITIAL_SAMPLE_TOKENS,
} from './limits.ts';
import { forText, settingsFor, type TrainSettings } from './lorsa-settings.ts';
import { programsFor } from './programs.ts';
import type { TrainRequest } from './train-request.ts';
import { documentHashes, trainedDocuments } from './trained-documents.ts';
import type { Standing, Training, TrainingBase, TrainManifest } from './training.ts';
import { unseenRows } from './unseen-rows.ts';

export type Started = { readonly training: Training; readonly standing: Standing };

/** Waits for the activations, initialises, and leaves the backend loaded at step 0. */
export async function begin(base: TrainingBase): Promise<Started> {
  const { deps, context, request, host, engine } = base;
  const cached = await waitForActivations(base);
  const shards = await openShards(base, cached);
  const settings = settingsOf(base, shards);
  await requireText(shards);
  const manifest = manifestOf(base, cached, shards);
  const reader = new BatchReader(shards, shards.train, manifest.group_bytes);
  const rng = new Rng(request.seed);
  const place = { cursor: 0, epochRng: rng.snapshot() };
  const norms = await measuredNorms(reader, place, settings.batch);
  const factors = scaleFactors(host.d_model, norms);
  const count = sampleSize(settings);
  const { batch: sample } = await reader.nextValid(place, count, factors);
  const programs = programsFor(settings.config);
  const weights = await initialWeights({
    settings,
    host,
    norms,
    sample,
    rng,
    evaluate: async (candidate, keep) => {
      const plan = planEvaluation(settings.config, programs.evaluate, candidate, sample, keep);
      const [outputs] = await deps.engine.run(plan, { signal: context.signal });
      return outputs ?? {};
    },
  });
  const { provider } = engine;
  const { backend, reason } = await openUsual(deps, request.backend, { settings, provider });
  if (reason !== '') context.log.info('training with the graph backend', { reason });
  const state = initialState(settings.config, weights, { epochRng: rng.snapshot(), norms });
  await backend.load(state.tensors);
  return {
    training: {
      ...base,
      settings,
      programs,
      shards,
      reader,
      factors,
      manifest: { ...manifest, backend: backend.name, backend_reason: reason },
      backend,
    },
    standing: { state, tokens: 0, curve: [], saved: 0 },
  };
}

function manifestOf(
  { deps, asked, engine, host }: TrainingBase,
  activations: CachedActivations,
  shards: LayerShards,
): Omit<TrainManifest, 'backend' | 'backend_reason'> {
  return {
    request: asked,
    engine: engine.version,
    threads: engine.threads,
    shards: shards.references(),
    activations,
    host: { modelDigest: host.modelDigest, hookIn: host.hookIn, hookOut: host.hookOut },
    group_bytes: groupBytesFor(shards, deps.groupBytes ?? GROUP_BYTES),
  };
}

/** What of a checkpoint is not tensors and manifest. */
interface Noted extends TrainManifest {
  readonly tokens: number;
  readonly curve: Standing['curve'];
}

/** The manifest as a checkpoint keeps it. */
export function noted({ manifest }: Training, { tokens, curve }: Standing): Noted {
  return { ...manifest, tokens, curve };
}

/** Goes on from a checkpoint. Errors: `data_loss` when it belongs to another request or its shards are gone. */
export async function takeUp(base: TrainingBase, saved: Snapshot): Promise<Started> {
  const { deps, context, engine, host } = base;
  const decoded = decodeTrainingState(saved.bytes);
  if (decoded.manifest.request !== base.asked) {
    throw dataLoss('the checkpoint belongs to another request');
  }
  const { state, noted: kept } = isOfNow(decoded.manifest)
    ? { state: decoded.state, noted: decoded.manifest }
    : await carriedOver(base, decoded.state);
  const { tokens, curve, ...manifest } = kept;
  if (manifest.engine !== engine.version || manifest.threads !== engine.threads) {
    context.log.warn('resumed on another engine: the result may differ in rounding', {
      checkpoint: `${manifest.engine}, ${manifest.threads} threads`,
      here: `${engine.version}, ${engine.threads} threads`,
    });
  }
  const { digest } = manifest.activations;
  const shards = await LayerShards.open(context.blobs, digest, host);
  const settings = settingsOf(base, shards);
  const backend = await openBackend(deps, manifest.backend, settings);
  await backend.load(state.tensors);
  const training: Training = {
    ...base,
    settings,
    programs: programsFor(settings.config),
    shards,
    reader: new BatchReader(shards, shards.train, manifest.group_bytes),
    factors: factorsOf(state),
    manifest,
    backend,
  };
  return { training, standing: { state, tokens, curve, saved: state.step } };
}

/** Manifests of the first version knew shards of their own and no job that made them. */
const isOfNow = (manifest: TrainingManifest): manifest is Noted =>
  Object.hasOwn(manifest, 'activations');

/**
 * A checkpoint of the first version: weights, moments, silence and norms are taken as they are; the activations are
 * captured anew, as shards that today's trainings share, so what follows is read in another order than then.
 */
async function carriedOver(
  base: TrainingBase,
  state: TrainingState,
): Promise<{ readonly state: TrainingState; readonly noted: Noted }> {
  base.context.log.warn('a training of an earlier version goes on with activations captured anew', {
    step: state.step,
  });
  const cached = await waitForActivations(base);
  const shards = await openShards(base, cached);
  await requireText(shards);
  const manifest = manifestOf(base, cached, shards);
  const backend = { backend: 'graph', backend_reason: '' } as const; // there was no other
  return {
    state: { ...state, cursor: 0 },
    noted: { ...manifest, ...backend, tokens: 0, curve: [] },
  };
}

const factorsOf = ({ config, norms }: TrainingState & { readonly norms: MeanNorms }) =>
  scaleFactors(config.d_model, norms);

async function waitForActivations({ deps, context, request, host }: TrainingBase) {
  const { signal } = context;
  const hooks = [host.hookIn, host.hookOut];
  const { context: tokens } = settingsFor(request, host);
  try {
    const { model, data } = request;
    const job = await deps.activations.start({ model, hooks, data, context: tokens }, signal);
    return await deps.activations.finished(job, {
      signal,
      hooks,
      onProgress: ({ done, total, unit }) =>
        context.progress({ done, total, unit, message: 'capturing activations' }),
    });
  } catch (thrown) {
    if (signal.aborted) await context.pulse(); // says why it was told to stop
    throw thrown;
  }
}

/** Errors: `failed_precondition` when the activations are those of another model. */
async function openShards({ context, host }: TrainingBase, cached: CachedActivations) {
  const shards = await LayerShards.open(context.blobs, cached.digest, host);
  const { model_digest } = shards.manifest;
  if (model_digest === host.modelDigest) return shards;
  throw failedPrecondition(
    `job ${cached.job} cached activations of ${model_digest}; the host is ${host.modelDigest}`,
    { field: 'data.activations' },
  );
}

function settingsOf({ request, host }: TrainingBase, shards: LayerShards): TrainSettings {
  const { sequences, valid } = shards.manifest.train;
  const settings = settingsFor(atContext(request, shards), host);
  return forText(settings, request, valid / Math.max(1, sequences));
}

/** Activations that were named bring their length of sequences with them. */
function atContext(request: TrainRequest, { manifest }: LayerShards): TrainRequest {
  const { optimiser, data } = request;
  if (data.activations === '') return request;
  if (optimiser.context === 0) {
    return { ...request, optimiser: { ...optimiser, context: manifest.context } };
  }
  if (optimiser.context >= manifest.context) return request;
  throw invalidArgument(
    `context is ${optimiser.context}; job ${data.activations} cached sequences of ${manifest.context}`,
    { field: 'optimiser.context' },
  );
}

/** Errors: `invalid_argument` for text of which nothing can be trained on, or nothing measured afterwards. */
async function requireText(shards: LayerShards): Promise<void> {
  const { train, held_out } = shards.manifest;
  const refuse = (why: string) =>
    invalidArgument(`${why}; give more text, or text in more documents`, { field: 'data' });
  if (train.valid === 0) throw refuse(`of ${train.tokens} tokens none counts in a loss`);
  const trained = new Set(documentHashes(await trainedDocuments(shards)));
  const { tokens } = await unseenRows(shards, shards.heldOut, { trained, most: HELD_OUT_TOKENS });
  if (tokens > 0) return;
  const { sequences, documents } = held_out;
  throw refuse(
    `${sequences} sequences of ${documents} documents are held out, and none has a token that counts and is not trained on too`,
  );
}

/** Sequences that the initialisation looks at: a batch, if its pre-activations fit in memory. */
function sampleSize({ batch, context, config: { n_ov_heads } }: TrainSettings): number {
  const tokens = Math.min(INITIAL_SAMPLE_TOKENS, INITIAL_SAMPLE_ENTRIES / n_ov_heads);
  return Math.min(batch, Math.max(1, Math.floor(tokens / context)));
}
