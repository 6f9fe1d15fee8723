import { createHash } from 'node:crypto';
import { outcomeWithFiles, type TaskOutput } from '@heddle/actor';
import { invalidArgument, type Json, resourceExhausted } from '@heddle/core';
import {
  type ActivationManifest,
  type ActivationShard,
  countShards,
  writeActivationManifest,
} from '@heddle/formats';
import {
  type BlobDigest,
  type Blobs,
  type Engine,
  type EngineReport,
  engineVersions,
} from '@heddle/ports';
import { CACHE_BLOBS_MAX, REFERENCES_MAX } from '../limits.ts';
import type { OpenModel } from '../open-model.ts';
import { blobsOf, type CacheProgress } from './cache-progress.ts';
import { type CacheRequest, pointsOf } from './cache-request.ts';

export const MANIFEST_FILE = 'activations.json';

export interface FinishDeps {
  readonly blobs: Blobs;
  readonly engine: Pick<Engine, 'report'>;
  readonly versions: Readonly<Record<string, string>>;
}

/** The job's result: one manifest of what all tasks made, in their order. Errors: `invalid_argument` when that is nothing. */
export async function finishCache(
  { blobs: store, engine, versions }: FinishDeps,
  request: CacheRequest,
  open: OpenModel,
  parts: readonly CacheProgress[],
): Promise<TaskOutput> {
  const shards = parts.flatMap((part) => part.shards);
  if (shards.length === 0) {
    throw invalidArgument('no document of two tokens or more: there is nothing to attend to', {
      field: 'corpus',
    });
  }
  const manifest = manifestOf(request, open, shards);
  const blobs = blobsOf({ shards });
  if (blobs.length > REFERENCES_MAX) {
    throw resourceExhausted(
      `the pass made ${blobs.length} blobs; at most ${CACHE_BLOBS_MAX} are one result: ask for tokens_max or fewer hooks`,
      { field: 'tokens_max', retryable: false, details: { limit: CACHE_BLOBS_MAX } },
    );
  }
  const outcome = await outcomeWithFiles(store, {
    summary: summaryOf(manifest),
    files: [
      {
        name: MANIFEST_FILE,
        mediaType: 'application/json',
        content: writeActivationManifest(manifest),
      },
    ],
    provenance: provenanceOf(request, open, {
      programs: parts.find((part) => part.programs.length > 0)?.programs ?? [],
      report: await engine.report(),
      versions,
    }),
  });
  const prompts = request.prompts === '' ? [] : [request.prompts as BlobDigest];
  return { ...outcome, references: [...(outcome.references ?? []), ...prompts, ...blobs] };
}

function manifestOf(
  request: CacheRequest,
  { name, model: { config } }: OpenModel,
  shards: readonly ActivationShard[],
): ActivationManifest {
  return {
    format: 'heddle.activations',
    version: 1,
    model: name,
    model_digest: request.model_digest,
    corpus: request.corpus || 'prompts',
    corpus_digest: request.corpus_digest,
    tokenizer_digest: request.tokenizer_digest,
    context: request.context,
    tokens_max: request.tokens_max,
    dtype: request.dtype,
    hooks: pointsOf(config, request.hooks).map(({ name: hook, axes, shape }) => ({
      name: hook,
      axes: axes.slice(1),
      shape: shape.slice(1).map(Number),
    })),
    shards,
    train: countShards(shards.filter(({ held_out }) => !held_out)),
    held_out: countShards(shards.filter(({ held_out }) => held_out)),
    bytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
  };
}

function summaryOf({ shards, train, held_out, bytes }: ActivationManifest) {
  const { sequences, tokens, documents } = countShards(shards);
  return {
    sequences,
    tokens,
    documents,
    shards: shards.length,
    bytes,
    train_sequences: train.sequences,
    held_out_sequences: held_out.sequences,
  };
}

function provenanceOf(
  { model_digest, corpus_digest, dtype }: CacheRequest,
  { name }: OpenModel,
  made: {
    readonly programs: readonly string[];
    readonly report: EngineReport;
    readonly versions: Readonly<Record<string, string>>;
  },
): { readonly [name: string]: Json } {
  const { programs, report, versions } = made;
  const program = createHash('sha256').update(programs.join('\n')).digest('hex');
  return {
    model: name,
    model_digest,
    data_digest: corpus_digest,
    program_digest: `sha256:${program}`,
    precision: dtype === 'f32' ? 'fp32' : 'fp32, kept as fp16',
    provider: report.provider,
    versions: { ...versions, ...engineVersions(report) },
  };
}
