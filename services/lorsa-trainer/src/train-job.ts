import type { JobKind, Snapshot, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { canonicalJson, dataLoss, type Json, OperationError, Rng } from '@heddle/core';
import {
  addSums,
  deadHeads,
  decodeTrainingState,
  emptySums,
  encodeTrainingState,
  figures,
  initialState,
  type LorsaFigures,
  type TrainingManifest,
  type TrainingState,
  weightsOf,
} from '@heddle/interp/lorsa';
import {
  type BlobDigest,
  type Engine,
  type EngineReport,
  encodeOutcome,
  type Metrics,
} from '@heddle/ports';
import type { Activations, Tokens } from './activations.ts';
import { writeCheckpoint } from './checkpoint-files.ts';
import {
  absorbSteps,
  planEvaluation,
  planSteps,
  type StepsReport,
  stepsAhead,
  sumsOf,
} from './compute.ts';
import type { HostLayer } from './host-layer.ts';
import { initialWeights } from './initial-weights.ts';
import { CAPTURE_PROMPTS, DEAD_SHARE, DEAD_TOKENS, SHARD_SEQUENCES } from './limits.ts';
import { settingsFor, type TrainSettings } from './lorsa-settings.ts';
import { digestOf, programsFor, type TrainPrograms } from './programs.ts';
import type { TextOrTokens, TrainRequest } from './train-request.ts';
import {
  checkSize,
  decodeShard,
  encodeShard,
  joined,
  measureNorms,
  normalised,
  padded,
  type Sequences,
  type SplitSequences,
  split,
  taken,
  windows,
} from './training-data.ts';

export interface TrainDeps {
  readonly engine: Engine;
  readonly activations: Activations;
  readonly host: (model: string, layer: number) => Promise<HostLayer>;
  /** Prompts of a corpus file; without a corpus and without prompts, the text of the bundled model's tasks. */
  readonly corpus: (data: TrainRequest['data']) => Promise<readonly TextOrTokens[]>;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
}

/** Everything of one running training that does not change from step to step. */
interface Training {
  readonly deps: TrainDeps;
  readonly context: TaskContext;
  readonly request: TrainRequest;
  readonly host: HostLayer;
  readonly settings: TrainSettings;
  readonly programs: TrainPrograms;
  readonly engine: EngineReport;
  readonly data: SplitSequences;
  readonly manifest: TrainingManifest;
}

/** The kind `lorsa.train`: one task, resumed from its last checkpoint to the same bits. */
export function trainKind(deps: TrainDeps): JobKind {
  return {
    kind: 'lorsa.train',
    limits: { concurrency: 1 },
    split: () => [{ input: null }],
    run: (task, context) => runTraining(deps, task, context),
  };
}

async function runTraining(deps: TrainDeps, task: Task, context: TaskContext): Promise<TaskOutput> {
  const started = context.clock.monotonic();
  const request = task.request as unknown as TrainRequest;
  const host = await deps.host(request.model, request.layer);
  const settings = settingsFor(request, host);
  const engine = await deps.engine.report();
  const programs = programsFor(settings.config);
  const fixed = { deps, context, request, host, settings, programs, engine };
  const saved = await context.load();
  const { training, state: first } = saved ? await takeUp(fixed, saved) : await begin(fixed);

  let state = first;
  let report: StepsReport | undefined;
  while (state.step < settings.steps) {
    ({ state, report } = await advance(training, state));
    publish(training, state, report);
    const atCheckpoint = state.step % settings.checkpointSteps === 0;
    if (atCheckpoint && state.step < settings.steps) await context.save(snapshot(training, state));
    await context.pulse(() => snapshot(training, state));
  }
  return finish(training, state, (context.clock.monotonic() - started) / 1000);
}

type Fixed = Omit<Training, 'data' | 'manifest'>;
type Started = { readonly training: Training; readonly state: TrainingState };

/** Captures the activations, keeps them as blobs, initialises, and saves that as the checkpoint of step 0. */
async function begin(fixed: Fixed): Promise<Started> {
  const { deps, context, request, settings, engine, host } = fixed;
  const shards = await capture(fixed);
  const all = split(await readShards(context, shards));
  const norms = measureNorms(all.train);
  const data = scaled(all, norms);
  const manifest: TrainingManifest = {
    request: digestOf(canonicalJson(request)),
    engine: engine.version,
    threads: engine.threads,
    shards,
  };
  const training: Training = { ...fixed, data, manifest };
  const rng = new Rng(request.seed);
  const count = Math.min(settings.batch, data.train.x.shape[0] ?? 0);
  const sample = taken(
    data.train,
    Array.from({ length: count }, (_, i) => i),
  );
  const weights = await initialWeights({
    settings,
    host,
    init: request.architecture.init,
    norms,
    sample,
    rng,
    evaluate: async (candidate, keep) => {
      const plan = planEvaluation(settings, fixed.programs.evaluate, candidate, sample, keep);
      const [outputs] = await deps.engine.run(plan, { signal: context.signal });
      return outputs ?? {};
    },
  });
  const state = initialState(settings.config, weights, { epochRng: rng.snapshot(), norms });
  await context.save(snapshot(training, state));
  return { training, state };
}

/** Goes on from a checkpoint. Errors: `data_loss` when it belongs to another request or its shards are gone. */
async function takeUp(fixed: Fixed, saved: Snapshot): Promise<Started> {
  const { context, request, engine } = fixed;
  const { state, manifest } = decodeTrainingState(saved.bytes);
  if (manifest.request !== digestOf(canonicalJson(request))) {
    throw dataLoss('the checkpoint belongs to another request');
  }
  if (manifest.engine !== engine.version || manifest.threads !== engine.threads) {
    context.log.warn('resumed on another engine: the result may differ in rounding', {
      checkpoint: `${manifest.engine}, ${manifest.threads} threads`,
      here: `${engine.version}, ${engine.threads} threads`,
    });
  }
  const all = split(await readShards(context, manifest.shards as BlobDigest[]));
  const training: Training = { ...fixed, data: scaled(all, state.norms), manifest };
  return { training, state };
}

function scaled(all: SplitSequences, norms: TrainingState['norms']): SplitSequences {
  return { train: normalised(all.train, norms), heldOut: normalised(all.heldOut, norms) };
}

/** Input and target of every sequence, as shard blobs. */
async function capture(fixed: Fixed): Promise<readonly BlobDigest[]> {
  const { deps, context, request, settings, host } = fixed;
  const { signal } = context;
  const prompts = await deps.corpus(request.data);
  const tokens: Tokens[] = [];
  for (const prompt of prompts) {
    tokens.push(await deps.activations.tokenize(request.model, prompt, signal));
  }
  const sequences = windows(tokens, settings.context);
  checkSize(sequences, host.d_model);
  const pos = sequences.reduce((n, { ids }) => Math.max(n, ids.length), 0);
  const shards: BlobDigest[] = [];
  for (let from = 0; from < sequences.length; from += SHARD_SEQUENCES) {
    const batch: Sequences[] = [];
    const end = Math.min(from + SHARD_SEQUENCES, sequences.length);
    for (let at = from; at < end; at += CAPTURE_PROMPTS) {
      const part = sequences.slice(at, Math.min(at + CAPTURE_PROMPTS, end));
      const ids = part.map((sequence) => sequence.ids);
      const captured = await deps.activations.capture(request.model, host, ids, signal);
      batch.push(padded(part, captured, pos));
      context.progress({
        done: at + part.length,
        total: sequences.length,
        unit: 'sequences',
        message: 'capturing activations',
      });
      await context.pulse();
    }
    shards.push((await context.blobs.put(encodeShard(joined(batch)))).digest);
  }
  return shards;
}

async function readShards(context: TaskContext, shards: readonly BlobDigest[]): Promise<Sequences> {
  const parts: Sequences[] = [];
  for (const digest of shards) parts.push(decodeShard(await context.blobs.read(digest)));
  return joined(parts);
}

function snapshot({ manifest }: Training, state: TrainingState): Snapshot {
  const references = manifest.shards as readonly BlobDigest[];
  return { bytes: encodeTrainingState(state, manifest), cursor: state.step, references };
}

/** The next few steps. A stop request saves where the training stands and is then thrown. */
async function advance(training: Training, state: TrainingState) {
  const { deps, context, settings, programs, data } = training;
  const count = stepsAhead(settings, state, data.train.x.shape[1] ?? 0);
  const { plan, places } = planSteps(settings, programs.step, state, data.train, count);
  const startedMs = context.clock.monotonic();
  try {
    const outputs = await deps.engine.run(plan, { signal: context.signal });
    const absorbed = absorbSteps(settings, state, places, outputs);
    const seconds = (context.clock.monotonic() - startedMs) / 1000;
    deps.metrics.observe('lorsa_trainer_step_seconds', seconds / count);
    deps.metrics.add('lorsa_trainer_steps_total', count);
    deps.metrics.add('lorsa_trainer_tokens_total', absorbed.report.sums.tokens);
    return absorbed;
  } catch (error) {
    if (context.signal.aborted) await context.pulse(() => snapshot(training, state));
    throw error;
  }
}

/** Tokens of silence after which a head counts as dead in this training. */
function deadThreshold({ data, settings }: Training): number {
  const sequences = data.train.x.shape[0] ?? 1;
  const valid = data.train.valid.data.reduce((sum, v) => sum + v, 0);
  const planned = (valid / sequences) * settings.batch * settings.steps;
  return Math.min(DEAD_TOKENS, DEAD_SHARE * planned);
}

function publish(training: Training, state: TrainingState, report: StepsReport): void {
  const { context, settings, deps } = training;
  const { fvu, l0 } = figures(report.sums);
  const dead = deadHeads(state.dead, deadThreshold(training));
  deps.metrics.set('lorsa_trainer_fvu_ratio', fvu);
  deps.metrics.set('lorsa_trainer_dead_heads', dead);
  context.progress({
    done: state.step,
    total: settings.steps,
    unit: 'steps',
    message: `FVU ${fvu.toFixed(4)}, L0 ${l0.toFixed(1)}, dead ${dead}`,
    figures: {
      loss: report.loss,
      fvu,
      l0,
      dead_heads: dead,
      gradient_norm: report.gradientNorm,
      learning_rate: report.rate,
    },
  });
}

/** Loss, FVU and L0 on the held-out sequences. */
async function evaluate(training: Training, state: TrainingState): Promise<LorsaFigures> {
  const { deps, context, settings, programs, data } = training;
  const weights = weightsOf(state);
  const count = data.heldOut.x.shape[0] ?? 0;
  let sums = emptySums(settings.config.d_model);
  for (let from = 0; from < count; from += settings.batch) {
    const length = Math.min(settings.batch, count - from);
    const batch = taken(
      data.heldOut,
      Array.from({ length }, (_, i) => from + i),
    );
    const plan = planEvaluation(settings, programs.evaluate, weights, batch);
    const [outputs] = await deps.engine.run(plan, { signal: context.signal });
    sums = addSums(sums, sumsOf(outputs ?? {}));
  }
  if (sums.tokens === 0) {
    throw new OperationError({
      code: 'failed_precondition',
      message: 'the held-out tenth of the text has special tokens only',
      field: 'data',
    });
  }
  return figures(sums);
}

/** Evaluates, writes the checkpoint in the published format, and says how it went. */
async function finish(
  training: Training,
  state: TrainingState,
  seconds: number,
): Promise<TaskOutput> {
  const { deps, context, request, host, settings, engine, manifest, programs } = training;
  const { fvu, l0, loss } = await evaluate(training, state);
  const provenance: Record<string, Json> = {
    model: request.model,
    model_digest: host.modelDigest,
    data_digest: digestOf(manifest.shards.join('\n')),
    program_digest: `sha256:${programs.step.digest}`,
    precision: 'fp32',
    provider: engine.provider,
    threads: engine.threads,
    seed: request.seed,
    init: request.architecture.init,
    versions: { ...deps.versions, engine: engine.version },
  };
  const files = writeCheckpoint(host, state, provenance);
  const checkpoint = await context.blobs.put(files.weights);
  const config = await context.blobs.put(new TextEncoder().encode(files.configText));
  const summary = {
    model: request.model,
    layer: request.layer,
    steps: state.step,
    tokens: training.data.train.valid.data.reduce((sum, v) => sum + v, 0),
    loss,
    fvu,
    l0,
    dead_heads: deadHeads(state.dead, deadThreshold(training)),
    dead_after_tokens: deadThreshold(training),
    heads: settings.config.n_ov_heads,
    top_k: settings.config.topK,
    init: request.architecture.init,
    seconds,
    seconds_per_step: seconds / Math.max(1, state.step),
  };
  const artifacts = [
    {
      name: 'checkpoint.safetensors',
      digest: checkpoint.digest,
      bytes: checkpoint.bytes,
      mediaType: 'application/x-safetensors' as const,
    },
    {
      name: 'config.json',
      digest: config.digest,
      bytes: config.bytes,
      mediaType: 'application/json' as const,
    },
  ];
  return {
    bytes: encodeOutcome({ summary, artifacts }),
    references: [checkpoint.digest, config.digest],
    provenance,
  };
}
