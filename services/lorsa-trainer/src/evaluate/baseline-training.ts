import type { TaskContext } from '@heddle/actor';
import { canonicalJson, failedPrecondition, type Json, OperationError, Rng } from '@heddle/core';
import { bestWriteScale, meanTarget, type ScaleFactors, scaleFactors } from '@heddle/interp/lorsa';
import {
  encodedSaeLoss,
  encodedSaeStep,
  initialiseSae,
  initialSaeState,
  type SaeManifest,
  type SaeTrainingState,
} from '@heddle/interp/sae';
import type { BlobDigest, Engine, EngineReport } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import { BatchReader } from '../batch-reader.ts';
import { groupBytesFor, LayerShards } from '../layer-shards.ts';
import { GROUP_BYTES, PLAN_BYTES_MAX, PLAN_STEPS } from '../limits.ts';
import { digestOf, programOf } from '../programs.ts';
import type { Sequences } from '../sequences.ts';
import { type BaselineRequest, saeSettings } from './baseline-request.ts';
import { SCALE_TOKENS } from './limits.ts';
import { absorbSaeSteps, planSaeSteps, type SaeReport, type SaeSettings } from './sae-steps.ts';

export interface BaselineJobDeps {
  readonly engine: Engine;
  readonly versions: Readonly<Record<string, string>>;
}

/** Everything of one running baseline that does not change from step to step. */
export interface Baseline {
  readonly deps: BaselineJobDeps;
  readonly context: TaskContext;
  readonly request: BaselineRequest;
  readonly settings: SaeSettings;
  readonly shards: LayerShards;
  readonly reader: BatchReader;
  readonly factors: ScaleFactors;
  readonly program: ReturnType<typeof programOf>;
  readonly manifest: Omit<SaeManifest, 'pilots'>;
  readonly engine: EngineReport;
}

export async function prepared(
  deps: BaselineJobDeps,
  request: BaselineRequest,
  context: TaskContext,
): Promise<Baseline> {
  const settings = saeSettings(request);
  const engine = await deps.engine.report();
  const shards = await openShards(context, request);
  const groupBytes = groupBytesFor(shards, GROUP_BYTES);
  return {
    deps,
    context,
    request,
    settings,
    shards,
    reader: new BatchReader(shards, shards.train, groupBytes),
    factors: scaleFactors(request.d_model, { input: request.norm_in, output: request.norm_out }),
    program: programOf(
      encodedSaeStep(settings.config, { auxiliary: settings.auxiliary !== undefined }),
    ),
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
export async function begun(baseline: Baseline): Promise<SaeTrainingState> {
  const { deps, context, request, settings, reader, factors } = baseline;
  const { config } = settings;
  const rng = new Rng(request.seed);
  const place = { cursor: 0, epochRng: rng.snapshot() };
  const { batch: sample } = await reader.nextValid(place, scaleSequences(baseline), factors);
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

/** The next few steps towards the end that `settings` has. Errors: those of the engine; `failed_precondition` for an overflow. */
export async function advance(
  { deps, context, program, reader, factors }: Baseline,
  settings: SaeSettings,
  state: SaeTrainingState,
): Promise<{ readonly state: SaeTrainingState; readonly report: SaeReport }> {
  const toCheckpoint = settings.checkpointSteps - (state.step % settings.checkpointSteps);
  const count = Math.min(PLAN_STEPS, toCheckpoint, settings.steps - state.step);
  const batches: Sequences[] = [];
  let place = { cursor: state.cursor, epochRng: state.epochRng };
  let bytes = 0;
  while (batches.length < count && (bytes <= PLAN_BYTES_MAX || batches.length === 0)) {
    const next = await reader.nextValid(place, settings.batch, factors);
    batches.push(next.batch);
    bytes += 4 * next.batch.y.data.length;
    place = next.place;
  }
  const plan = planSaeSteps(settings, program, state, batches);
  const outputs = await deps.engine.run(plan, { signal: context.signal });
  return absorbSaeSteps(settings, state, place, outputs);
}
