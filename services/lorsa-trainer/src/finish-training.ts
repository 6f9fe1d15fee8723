import { outcomeWithFiles, type TaskOutput } from '@heddle/actor';
import { type Json, OperationError } from '@heddle/core';
import {
  addSums,
  deadHeads,
  emptySums,
  figures,
  type LorsaFigures,
  type TrainingState,
  weightsOf,
} from '@heddle/interp/lorsa';
import { engineVersions } from '@heddle/ports';
import { writeCheckpoint } from './checkpoint-files.ts';
import { planEvaluation, sumsOf } from './compute.ts';
import { digestOf } from './programs.ts';
import { deadThreshold, type Training } from './training.ts';
import { taken } from './training-data.ts';

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

/** Evaluates, writes the checkpoint in the published format, and says how it went. `run`: what this attempt did. */
export async function finish(
  training: Training,
  state: TrainingState,
  run: { readonly seconds: number; readonly steps: number },
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
    seed: request.seed,
    init: request.architecture.init,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
  const files = writeCheckpoint(host, state, provenance);
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
    seconds: run.seconds,
    seconds_per_step: run.seconds / Math.max(1, run.steps),
  };
  return outcomeWithFiles(context.blobs, {
    summary,
    files: [
      {
        name: 'checkpoint.safetensors',
        mediaType: 'application/x-safetensors',
        content: files.weights,
      },
      {
        name: 'config.json',
        mediaType: 'application/json',
        content: new TextEncoder().encode(files.configText),
      },
    ],
    provenance,
  });
}
