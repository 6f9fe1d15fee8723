import type { JobKind, Snapshot, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { outcomeWithFiles } from '@heddle/actor';
import {
  canonicalJson,
  dataLoss,
  failedPrecondition,
  type Json,
  OperationError,
  Rng,
} from '@heddle/core';
import { reconstructionFigures, tokensOf } from '@heddle/interp/evaluation';
import {
  bestWriteScale,
  figures,
  meanTarget,
  type ScaleFactors,
  scaleFactors,
} from '@heddle/interp/lorsa';
import {
  decodeSaeState,
  encodedSaeLoss,
  encodedSaeStep,
  encodeSaeState,
  foldSae,
  initialiseSae,
  initialSaeState,
  SAE_CONFIG_FILE,
  SAE_WEIGHTS_FILE,
  type SaeLayer,
  type SaeManifest,
  type SaeTrainingState,
  saeWeightsOf,
  writeSaeFiles,
} from '@heddle/interp/sae';
import { type BlobDigest, type Engine, type EngineReport, engineVersions } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { BatchReader } from '../batch-reader.ts';
import { LayerShards } from '../layer-shards.ts';
import { GROUP_BYTES, HELD_OUT_TOKENS, PLAN_BYTES_MAX, PLAN_STEPS } from '../limits.ts';
import { digestOf, programOf } from '../programs.ts';
import { documentHashes } from '../trained-documents.ts';
import type { Sequences } from '../training-data.ts';
import { type BaselineRequest, saeSettings } from './baseline-request.ts';
import { SCALE_TOKENS } from './limits.ts';
import { absorbSaeSteps, planSaeSteps, type SaeReport, type SaeSettings } from './sae-steps.ts';
import { emptySums, measure, saeSubject } from './subject.ts';

export interface BaselineJobDeps {
  readonly engine: Engine;
  readonly versions: Readonly<Record<string, string>>;
}

/** Multiply-adds a second of one busy core. */
const RATE = 3e10;

/** The kind `lorsa.baseline`: a TopK autoencoder on a training's own targets, resumed to the same bits. */
export function baselineKind(deps: BaselineJobDeps): JobKind {
  return {
    kind: 'lorsa.baseline',
    limits: { concurrency: 1 },
    estimate: (json) => {
      const { d_model, d_sae, batch, steps } = json as unknown as BaselineRequest;
      const parameters = 2 * d_model * d_sae;
      // A hundred tokens to a sequence; five products of tokens and parameters in a step.
      const tokens = 100 * batch;
      const seconds = (steps * 5 * tokens * parameters) / 2 / RATE;
      return { seconds, bytes: 4 * (5 * parameters + 6 * tokens * d_sae) };
    },
    split: () => [{ input: null }],
    run: (task, context) => runBaseline(deps, task, context),
  };
}

/** Everything of one running baseline that does not change from step to step. */
interface Baseline {
  readonly deps: BaselineJobDeps;
  readonly context: TaskContext;
  readonly request: BaselineRequest;
  readonly settings: SaeSettings;
  readonly shards: LayerShards;
  readonly reader: BatchReader;
  readonly factors: ScaleFactors;
  readonly program: ReturnType<typeof programOf>;
  readonly manifest: SaeManifest;
  readonly engine: EngineReport;
}

async function runBaseline(
  deps: BaselineJobDeps,
  task: Task,
  context: TaskContext,
): Promise<TaskOutput> {
  const started = context.clock.monotonic();
  const request = task.request as unknown as BaselineRequest;
  const baseline = await prepared(deps, request, context);
  const { settings } = baseline;
  const saved = await context.load();
  let state = saved ? takenUp(baseline, saved) : await begun(baseline);
  if (!saved) await context.save(snapshot(baseline, state));
  let report: SaeReport | undefined;
  while (state.step < settings.steps) {
    ({ state, report } = await advance(baseline, state));
    publish(baseline, state, report);
    const atCheckpoint = state.step % settings.checkpointSteps === 0;
    if (atCheckpoint && state.step < settings.steps) await context.save(snapshot(baseline, state));
    const standsAt = state;
    await context.pulse(() => snapshot(baseline, standsAt));
  }
  return finished(baseline, state, (context.clock.monotonic() - started) / 1000);
}

async function prepared(
  deps: BaselineJobDeps,
  request: BaselineRequest,
  context: TaskContext,
): Promise<Baseline> {
  const settings = saeSettings(request);
  const engine = await deps.engine.report();
  const shards = await openShards(context, request);
  const bytes = shards.train.reduce((sum, shard) => sum + shards.size(shard).bytes, 0);
  // All at once where two groups would fit, as the training reads them.
  const groupBytes = bytes <= 2 * GROUP_BYTES ? 2 * GROUP_BYTES : GROUP_BYTES;
  return {
    deps,
    context,
    request,
    settings,
    shards,
    reader: new BatchReader(shards, shards.train, groupBytes),
    factors: scaleFactors(request.d_model, { input: request.norm_in, output: request.norm_out }),
    program: programOf(encodedSaeStep(settings.config)),
    manifest: {
      request: digestOf(canonicalJson(request as unknown as Json)),
      engine: engine.version,
      threads: engine.threads,
    },
    engine,
  };
}

/** Errors: `failed_precondition` when the training's activations are gone. */
async function openShards(
  { blobs }: TaskContext,
  { activations, hook_in, hook, training }: BaselineRequest,
): Promise<LayerShards> {
  try {
    const hooks = { hookIn: hook_in, hookOut: hook };
    return await LayerShards.open(blobs, activations as BlobDigest, hooks);
  } catch (thrown) {
    if (OperationError.from(thrown).code !== 'not_found') throw thrown;
    throw failedPrecondition(
      `the activations that training ${training} read are gone: start the training again, which caches them anew`,
      { field: 'checkpoint', cause: thrown },
    );
  }
}

/** A start as good as Lorsa's own: the mean as bias, and the decoder at the scale that leaves least of a first batch. */
async function begun(baseline: Baseline): Promise<SaeTrainingState> {
  const { deps, context, request, settings, reader, factors } = baseline;
  const { config } = settings;
  const rng = new Rng(request.seed);
  const place = { cursor: 0, epochRng: rng.snapshot() };
  const { batch: sample } = await reader.next(place, scaleSequences(baseline), factors);
  const rows = tensor('f32', [sample.valid.data.length, config.d_model], sample.y.data);
  const mean = meanTarget(rows, sample.valid.data);
  const start = initialiseSae(config, mean, rng);
  const feeds = {
    ...Object.fromEntries(Object.entries(start).map(([name, t]) => [name, single(t)])),
    ...sampleFeeds(sample, config.topK),
  };
  const step = { program: programOf(encodedSaeLoss(config)), feeds, keep: ['reconstruction'] };
  const [outputs = {}] = await deps.engine.run({ steps: [step] }, { signal: context.signal });
  const output = outputs['reconstruction']?.data as Float32Array;
  const written = output.map((value, at) => value - (mean.data[at % config.d_model] ?? 0));
  const scale = bestWriteScale(rows, tensor('f32', rows.shape, written), mean, sample.valid.data);
  const W_dec = { ...start.W_dec, data: start.W_dec.data.map((value) => value * scale) };
  return initialSaeState(config, { ...start, W_dec }, rng.snapshot());
}

function scaleSequences({ settings, shards }: Baseline): number {
  const longest = shards.train.reduce((most, { pos }) => Math.max(most, pos), 1);
  return Math.max(1, Math.min(settings.batch, Math.floor(SCALE_TOKENS / longest)));
}

const single = (t: Tensor<'f32' | 'f64'>): Tensor =>
  tensor('f32', t.shape, Float32Array.from(t.data));

function sampleFeeds({ y, valid }: Sequences, topK: number): Record<string, Tensor> {
  return {
    y,
    valid: tensor('f32', valid.shape, Float32Array.from(valid.data)),
    k: tensor('i64', [1], BigInt64Array.of(BigInt(topK))),
  };
}

/** Goes on from a checkpoint. Errors: `data_loss` when it belongs to another baseline. */
function takenUp({ manifest, context }: Baseline, saved: Snapshot): SaeTrainingState {
  const { state, manifest: before } = decodeSaeState(saved.bytes);
  if (before.request !== manifest.request) {
    throw dataLoss('the checkpoint belongs to another baseline');
  }
  if (before.engine !== manifest.engine || before.threads !== manifest.threads) {
    context.log.warn('resumed on another engine: the result may differ in rounding', {
      checkpoint: `${before.engine}, ${before.threads} threads`,
      here: `${manifest.engine}, ${manifest.threads} threads`,
    });
  }
  return state;
}

function snapshot({ manifest, shards }: Baseline, state: SaeTrainingState): Snapshot {
  return {
    bytes: encodeSaeState(state, manifest),
    cursor: state.step,
    references: shards.references(),
  };
}

/** The next few steps. A stop request saves where the baseline stands and is then thrown. */
async function advance(baseline: Baseline, state: SaeTrainingState) {
  const { deps, context, settings, program, reader, factors } = baseline;
  const toCheckpoint = settings.checkpointSteps - (state.step % settings.checkpointSteps);
  const count = Math.min(PLAN_STEPS, toCheckpoint, settings.steps - state.step);
  const batches: Sequences[] = [];
  let place = { cursor: state.cursor, epochRng: state.epochRng };
  let bytes = 0;
  while (batches.length < count && (bytes <= PLAN_BYTES_MAX || batches.length === 0)) {
    const next = await reader.next(place, settings.batch, factors);
    batches.push(next.batch);
    bytes += 4 * next.batch.y.data.length;
    place = next.place;
  }
  try {
    const plan = planSaeSteps(settings, program, state, batches);
    const outputs = await deps.engine.run(plan, { signal: context.signal });
    return absorbSaeSteps(settings, state, place, outputs);
  } catch (error) {
    if (context.signal.aborted) await context.pulse(() => snapshot(baseline, state));
    throw error;
  }
}

function publish(
  { context, settings, request }: Baseline,
  state: SaeTrainingState,
  { sums, loss, gradientNorm, rate }: SaeReport,
): void {
  const { fvu, l0 } = figures(sums);
  const dead = deadFeatures(state, request);
  context.progress({
    done: state.step,
    total: settings.steps,
    unit: 'steps',
    message: `baseline: FVU ${fvu.toFixed(4)}, L0 ${l0.toFixed(1)}, dead ${dead}`,
    figures: {
      loss,
      fvu,
      l0,
      dead_features: dead,
      gradient_norm: gradientNorm,
      learning_rate: rate,
    },
  });
}

const deadFeatures = ({ silentTokens }: SaeTrainingState, { dead_tokens }: BaselineRequest) =>
  silentTokens.filter((silent) => silent >= dead_tokens).length;

async function finished(
  baseline: Baseline,
  state: SaeTrainingState,
  seconds: number,
): Promise<TaskOutput> {
  const { deps, context, request, settings, factors, engine, program, shards } = baseline;
  const weights = foldSae(saeWeightsOf(state), factors.output);
  const layer: SaeLayer = { config: settings.config, weights, hook: request.hook };
  const heldOut = await measured(baseline, layer);
  const provenance: Record<string, Json> = {
    model: request.model,
    model_digest: request.model_digest,
    data_digest: shards.manifest.corpus_digest,
    program_digest: `sha256:${program.digest}`,
    activations: request.activations,
    training: request.training,
    precision: 'fp32',
    provider: engine.provider,
    seed: request.seed,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
  const files = writeSaeFiles(layer, {
    model_name: request.model,
    context_size: shards.manifest.context,
    ...provenance,
  });
  const { fvu, l0 } = heldOut.figures;
  return outcomeWithFiles(context.blobs, {
    summary: {
      training: request.training,
      model: request.model,
      hook: request.hook,
      steps: state.step,
      fvu: fvu.value,
      l0,
      dead_features: deadFeatures(state, request),
      dead_after_tokens: request.dead_tokens,
      features: settings.config.d_sae,
      top_k: settings.config.topK,
      learning_rate: settings.rate.peak,
      held_out_tokens: heldOut.tokens,
      seed: request.seed,
      seconds,
    },
    files: [
      { name: SAE_WEIGHTS_FILE, mediaType: 'application/x-safetensors', content: files.weights },
      {
        name: SAE_CONFIG_FILE,
        mediaType: 'application/json',
        content: new TextEncoder().encode(files.configText),
      },
    ],
    provenance,
  });
}

/** FVU and L0 of the file itself on held-out tokens. */
async function measured({ deps, context, shards, settings }: Baseline, layer: SaeLayer) {
  const subject = saeSubject(layer, [settings.config.topK], layer.weights.b_dec.data);
  const sums = emptySums(subject);
  for (const shard of shards.heldOut) {
    if (tokensOf(sums) >= HELD_OUT_TOKENS) break;
    const { x, y, valid, length, document } = await shards.read(shard);
    const batch = { x, y, valid, lengths: length.data, documents: documentHashes(document.data) };
    const options = { signal: context.signal, between: () => context.pulse() };
    await measure(deps.engine, subject, batch, sums, options);
  }
  return { figures: reconstructionFigures(sums, 0), tokens: tokensOf(sums) };
}
