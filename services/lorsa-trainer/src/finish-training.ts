import { outcomeWithFiles, type TaskOutput } from '@heddle/actor';
import { canonicalJson, type Json } from '@heddle/core';
import {
  addSums,
  DENSE_FREQUENCY,
  deadHeads,
  emptySums,
  figures,
  type LorsaFigures,
  weightsOf,
} from '@heddle/interp/lorsa';
import { engineVersions } from '@heddle/ports';
import { batched } from './batch-reader.ts';
import { writeCheckpoint } from './checkpoint-files.ts';
import { evaluationBatch, floats, planEvaluation, sumsOf } from './compute.ts';
import { HELD_OUT_TOKENS } from './limits.ts';
import { documentHashes, trainedDocuments } from './trained-documents.ts';
import type { Standing, Training } from './training.ts';
import { unseenRows } from './unseen-rows.ts';

interface HeldOutFigures extends LorsaFigures {
  readonly tokens: number;
  /** Held-out documents that were trained on too. */
  readonly leftOut: number;
  /** Heads active on more than a tenth of the held-out tokens, and on none of them. */
  readonly dense: number;
  readonly silent: number;
}

const KEEP = ['tokens', 'error_sum', 'square_sum', 'total', 'active_sum', 'fired'] as const;

/** Loss, FVU and L0 on the held-out sequences of documents that were not trained on, or on every n-th of very many. */
async function evaluate(
  training: Training,
  { state }: Standing,
  trained: ReadonlySet<bigint>,
): Promise<HeldOutFigures> {
  const { deps, context, settings, programs, shards, factors } = training;
  const { config } = settings;
  const weights = weightsOf(state);
  let sums = emptySums(config.d_model);
  const fired = new Float64Array(config.n_ov_heads);
  const { parts, leftOut } = await unseenRows(shards, shards.heldOut, {
    trained,
    most: HELD_OUT_TOKENS,
  });
  for (const { shard, rows } of parts) {
    const loaded = await shards.read(shard);
    const size = evaluationBatch(config, shard.pos, settings.batch);
    for (let from = 0; from < rows.length; from += size) {
      const some = rows.slice(from, from + size).map((row) => ({ shard: loaded, row }));
      const plan = planEvaluation(config, programs.evaluate, weights, batched(some, factors), KEEP);
      const [outputs = {}] = await deps.engine.run(plan, { signal: context.signal });
      sums = addSums(sums, sumsOf(outputs));
      floats(outputs, 'fired').forEach((count, head) => {
        fired[head] = (fired[head] ?? 0) + count;
      });
      await context.pulse();
    }
  }
  const heads = (is: (count: number) => boolean) => fired.filter(is).length;
  return {
    ...figures(sums),
    tokens: sums.tokens,
    leftOut,
    dense: heads((count) => count > DENSE_FREQUENCY * sums.tokens),
    silent: heads((count) => count === 0),
  };
}

/** Evaluates, writes the checkpoint in the published format, and says how it went. `run`: what this attempt did. */
export async function finish(
  training: Training,
  at: Standing,
  run: { readonly seconds: number; readonly steps: number },
): Promise<TaskOutput> {
  const { context, host, shards } = training;
  const documents = await trainedDocuments(shards);
  const measured = await evaluate(training, at, new Set(documentHashes(documents)));
  const provenance = provenanceOf(training);
  const checkpoint = writeCheckpoint(host, at.state, provenance);
  const text = (value: string) => new TextEncoder().encode(value);
  const made = await outcomeWithFiles(context.blobs, {
    summary: summaryOf(training, at, { ...run, measured, documents: documents.length / 8 }),
    files: [
      {
        name: 'checkpoint.safetensors',
        mediaType: 'application/x-safetensors',
        content: checkpoint.weights,
      },
      { name: 'config.json', mediaType: 'application/json', content: text(checkpoint.configText) },
      {
        name: 'curve.json',
        mediaType: 'application/json',
        content: text(canonicalJson({ points: at.curve })),
      },
      { name: 'documents.bin', mediaType: 'application/octet-stream', content: documents },
    ],
    provenance,
  });
  // The held-out part is what evaluates this checkpoint later.
  return { ...made, references: [...(made.references ?? []), ...shards.references()] };
}

function provenanceOf(training: Training): Record<string, Json> {
  const { deps, request, host, engine, manifest, programs, settings, shards } = training;
  return {
    model: request.model,
    model_digest: host.modelDigest,
    data_digest: shards.manifest.corpus_digest,
    program_digest: `sha256:${programs.evaluate.digest}`,
    activations: manifest.activations.digest,
    precision: 'fp32',
    provider: engine.provider,
    backend: manifest.backend,
    seed: request.seed,
    init: settings.init,
    versions: { ...deps.versions, ...engineVersions(engine) },
  };
}

interface Made {
  readonly seconds: number;
  readonly steps: number;
  readonly measured: HeldOutFigures;
  readonly documents: number;
}

function summaryOf(training: Training, { state, tokens }: Standing, made: Made) {
  const { request, host, settings, manifest, shards } = training;
  const { config, auxiliary, init } = settings;
  const { measured, seconds, steps, documents } = made;
  const perStep = tokens / Math.max(1, state.step);
  return {
    model: request.model,
    layer: request.layer,
    steps: state.step,
    tokens,
    loss: measured.loss,
    fvu: measured.fvu,
    l0: measured.l0,
    dead_heads: deadHeads(state.dead, settings.deadTokens),
    dead_after_tokens: settings.deadTokens,
    dense_heads: measured.dense,
    silent_heads_held_out: measured.silent,
    heads: config.n_ov_heads,
    qk_heads: config.n_qk_heads,
    d_qk_head: config.d_qk_head,
    top_k: config.topK,
    signed: config.signed,
    preset: request.preset,
    init,
    biases_copied: init !== 'xavier' && hasBiases(host),
    centred_pre_activations: settings.centrePreActivations,
    backend: manifest.backend,
    ...(manifest.backend_reason === '' ? {} : { backend_reason: manifest.backend_reason }),
    normalisation: 'dataset-wise',
    norm_in: state.norms.input,
    norm_out: state.norms.output,
    auxiliary: auxiliary?.coefficient ?? 0,
    seed: request.seed,
    hook_in: host.hookIn,
    hook_out: host.hookOut,
    activations: manifest.activations.job,
    train_tokens: shards.manifest.train.valid,
    held_out_tokens: measured.tokens,
    held_out_left_out: measured.leftOut,
    documents,
    seconds,
    seconds_per_step: seconds / Math.max(1, steps),
    tokens_per_second: seconds > 0 ? (perStep * steps) / seconds : 0,
  };
}

/** Some families have none; theirs read as zeros. */
const hasBiases = ({ attention: { b_Q, b_K } }: Training['host']): boolean =>
  [b_Q, b_K].some((bias) => bias?.data.some((value: number) => value !== 0));
