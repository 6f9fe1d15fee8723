import type { JobKind, Snapshot, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { canonicalJson, dataLoss, Rng } from '@heddle/core';
import {
  deadHeads,
  decodeTrainingState,
  encodeTrainingState,
  figures,
  initialState,
  type TrainingManifest,
  type TrainingState,
} from '@heddle/interp/lorsa';
import type { BlobDigest } from '@heddle/ports';
import { capture, readShards, scaled } from './captured-activations.ts';
import { absorbSteps, planEvaluation, planSteps, type StepsReport, stepsAhead } from './compute.ts';
import { finish } from './finish-training.ts';
import { initialWeights } from './initial-weights.ts';
import { estimateTraining, settingsFor } from './lorsa-settings.ts';
import { digestOf, programsFor } from './programs.ts';
import type { TrainRequest } from './train-request.ts';
import { deadThreshold, type TrainDeps, type Training, type TrainingBase } from './training.ts';
import { measureNorms, split, taken } from './training-data.ts';

/** The kind `lorsa.train`: one task, resumed from its last checkpoint to the same bits. */
export function trainKind(deps: TrainDeps): JobKind {
  return {
    kind: 'lorsa.train',
    limits: { concurrency: 1 },
    estimate: async (json) => {
      const request = json as unknown as TrainRequest;
      return estimateTraining(settingsFor(request, await deps.sizes(request.model)));
    },
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
  const base = { deps, context, request, host, settings, programs, engine };
  const saved = await context.load();
  const { training, state: first } = saved ? await takeUp(base, saved) : await begin(base);

  let state = first;
  let report: StepsReport | undefined;
  while (state.step < settings.steps) {
    ({ state, report } = await advance(training, state));
    publish(training, state, report);
    const atCheckpoint = state.step % settings.checkpointSteps === 0;
    if (atCheckpoint && state.step < settings.steps) await context.save(snapshot(training, state));
    await context.pulse(() => snapshot(training, state));
  }
  const seconds = (context.clock.monotonic() - started) / 1000;
  return finish(training, state, { seconds, steps: state.step - first.step });
}

type Started = { readonly training: Training; readonly state: TrainingState };

/** Captures the activations, keeps them as blobs, initialises, and saves that as the checkpoint of step 0. */
async function begin(base: TrainingBase): Promise<Started> {
  const { deps, context, request, settings, engine, host } = base;
  const shards = await capture(base);
  const all = split(await readShards(context, shards));
  const norms = measureNorms(all.train);
  const data = scaled(all, norms);
  const manifest: TrainingManifest = {
    request: digestOf(canonicalJson(request)),
    engine: engine.version,
    threads: engine.threads,
    shards,
  };
  const training: Training = { ...base, data, manifest };
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
      const plan = planEvaluation(settings, base.programs.evaluate, candidate, sample, keep);
      const [outputs] = await deps.engine.run(plan, { signal: context.signal });
      return outputs ?? {};
    },
  });
  const state = initialState(settings.config, weights, { epochRng: rng.snapshot(), norms });
  await context.save(snapshot(training, state));
  return { training, state };
}

/** Goes on from a checkpoint. Errors: `data_loss` when it belongs to another request or its shards are gone. */
async function takeUp(base: TrainingBase, saved: Snapshot): Promise<Started> {
  const { context, request, engine } = base;
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
  const training: Training = { ...base, data: scaled(all, state.norms), manifest };
  return { training, state };
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
