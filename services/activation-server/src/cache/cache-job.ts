import {
  type JobKind,
  outcomeWithFiles,
  type Snapshot,
  type Task,
  type TaskContext,
  type TaskOutput,
  type TaskResult,
} from '@heddle/actor';
import {
  dataLoss,
  failedPrecondition,
  invalidArgument,
  type Json,
  resourceExhausted,
} from '@heddle/core';
import {
  type ActivationManifest,
  type ActivationShard,
  type CorpusDocument,
  countShards,
  shardBlobs,
  writeActivationManifest,
} from '@heddle/formats';
import {
  type BlobDigest,
  type Engine,
  engineVersions,
  type Hub,
  type Metrics,
} from '@heddle/ports';
import { CACHE_BLOBS_MAX, CACHE_BYTES_MAX } from '../limits.ts';
import type { ModelRegistry } from '../model-registry.ts';
import type { OpenModel } from '../open-model.ts';
import { encode } from '../read-prompt.ts';
import type { RunService } from '../run-service.ts';
import { type CacheRequest, pointsOf, sourceOf } from './cache-request.ts';
import { captureShard, takeShard } from './capture-shard.ts';
import type { Corpora, IndexedCorpus } from './corpora.ts';
import { type CacheSizes, estimateCache, shardTokens } from './estimate-cache.ts';
import { type CacheTask, planTasks } from './plan-tasks.ts';
import { type Position, readSequences } from './read-sequences.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';

export const CACHE_KIND = 'activation.cache';
export const MANIFEST_FILE = 'activations.json';

export interface CacheDeps {
  readonly registry: ModelRegistry;
  readonly runs: RunService;
  readonly corpora: Corpora;
  readonly hub: Hub;
  readonly engine: Pick<Engine, 'report'>;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
  readonly sizes: CacheSizes;
}

/** What a task has done, and from where it goes on. Its output is the same without the position. */
interface Progress {
  readonly shards: readonly ActivationShard[];
  readonly programs: readonly string[];
  readonly position: Position | undefined;
}

/** A corpus read by a model once: activations at hook points as shards, for everybody who asks the same. */
export function cacheKind(deps: CacheDeps): JobKind<CacheRequest, CacheTask> {
  return {
    kind: CACHE_KIND,
    limits: { concurrency: 1, retainedBytesMax: CACHE_BYTES_MAX },
    async estimate(request) {
      const { model } = await deps.registry.open(request.model);
      return estimateCache(model, request, await deps.corpora.open(sourceOf(request)));
    },
    async split(request) {
      const corpus = await openCorpus(deps, request);
      const references = request.prompts === '' ? [] : [request.prompts as BlobDigest];
      const { taskTokens } = deps.sizes;
      return planTasks(corpus, request, taskTokens).map((input) => ({ input, references }));
    },
    run: (task, context) => runTask(deps, task, context),
    reduce: (task, results, context) => reduce(deps, task, results, context),
  };
}

/** Errors: `failed_precondition` when the corpus is no longer the one that was asked about. */
async function openCorpus({ corpora }: CacheDeps, request: CacheRequest): Promise<IndexedCorpus> {
  const corpus = await corpora.open(sourceOf(request));
  if (corpus.digest === request.corpus_digest) return corpus;
  throw failedPrecondition(
    `${request.corpus || 'the prompts'}: no longer the text that the job was asked about; ask again`,
    { field: 'corpus', details: { expected: request.corpus_digest, found: corpus.digest } },
  );
}

async function openModel({ registry }: CacheDeps, request: CacheRequest): Promise<OpenModel> {
  const open = await registry.open(request.model);
  if (withPrefix(open.model.digest) === request.model_digest) return open;
  throw failedPrecondition(
    `model ${open.name}: no longer the one that the job was asked about; ask again`,
    { field: 'model' },
  );
}

export const withPrefix = (digest: string): string => `sha256:${digest.replace(/^sha256:/, '')}`;

async function runTask(
  deps: CacheDeps,
  task: Task<CacheRequest, CacheTask>,
  context: TaskContext,
): Promise<TaskOutput> {
  const { request, input } = task;
  const open = await openModel(deps, request);
  const corpus = await openCorpus(deps, request);
  const saved = await context.load();
  let progress: Progress = saved
    ? decode(saved.bytes)
    : { shards: [], programs: [], position: undefined };
  const options = {
    context: request.context,
    special: await specialIds(deps, open),
    encode: encoder(open, request),
  };
  const sequences = readSequences(corpus, input, options, progress.position);
  const capture = {
    model: open.model,
    hooks: pointsOf(open.model.config, request.hooks),
    dtype: request.dtype,
    heldOut: input.held_out,
    signal: context.signal,
  };
  const held = { next: undefined };
  const tokensMax = shardTokens(open.model, request, deps.sizes);
  try {
    for (;;) {
      const startMs = context.clock.monotonic();
      const taken = await takeShard(sequences, held, tokensMax);
      const last = taken.at(-1);
      if (last === undefined) break;
      const made = await captureShard({ runs: deps.runs, blobs: context.blobs }, taken, capture);
      const shards = [...progress.shards, made.shard];
      progress = { shards, programs: made.programs, position: last.next };
      await context.save(snapshot(progress));
      const seconds = (context.clock.monotonic() - startMs) / 1000;
      count(deps, open, made.shard, seconds);
      tell(task, context, progress, made.shard.tokens / seconds);
      await context.pulse();
    }
  } catch (thrown) {
    if (context.signal.aborted) await context.pulse(); // says why it was told to stop
    throw thrown;
  } finally {
    await sequences.return(undefined);
  }
  return {
    bytes: encodeProgress({ ...progress, position: undefined }),
    references: blobsOf(progress),
  };
}

const blobsOf = ({ shards }: Pick<Progress, 'shards'>): readonly BlobDigest[] =>
  shardBlobs({ shards });

function snapshot(progress: Progress): Snapshot {
  const { shards } = progress;
  return { bytes: encodeProgress(progress), cursor: shards.length, references: blobsOf(progress) };
}

const encodeProgress = (progress: Progress): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(progress));

function decode(bytes: Uint8Array): Progress {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Progress;
  } catch (cause) {
    throw dataLoss('a part of cached activations is no JSON', { cause });
  }
}

async function specialIds({ hub }: CacheDeps, { model, tokenizer }: OpenModel) {
  const { padId } = await readTokenizerFiles(await hub.open(model.path));
  const { bosTokenId, eosTokenIds } = model.config;
  const ids = [tokenizer?.bosId, tokenizer?.eosId, padId, bosTokenId, ...eosTokenIds];
  return new Set(ids.filter((id) => id !== undefined));
}

/** Ids of a document. Errors: `invalid_argument` with its file and line. */
function encoder({ model: { config }, tokenizer }: OpenModel, { options }: CacheRequest) {
  return ({ text, tokens, line }: CorpusDocument, file: string): readonly number[] => {
    if (tokens === undefined) return encode(text, options, tokenizer, `${file} line ${line}`);
    const bad = tokens.find((id) => id >= config.d_vocab);
    if (bad === undefined) return tokens;
    throw invalidArgument(
      `${file} line ${line}: ${bad} is no token of the model; ids are 0 to ${config.d_vocab - 1}`,
      { field: 'corpus', details: { file, line, limit: config.d_vocab - 1 } },
    );
  };
}

function count(
  { metrics }: CacheDeps,
  { model }: OpenModel,
  { tokens, bytes }: ActivationShard,
  seconds: number,
): void {
  metrics.add('activation_cached_tokens_total', tokens, { family: model.config.family });
  metrics.add('activation_cached_shards_total', 1);
  metrics.add('activation_cached_bytes_total', bytes);
  metrics.observe('activation_cache_shard_seconds', seconds);
}

function tell(
  { input, index, count: tasks }: Task<CacheRequest, CacheTask>,
  context: TaskContext,
  { shards }: Progress,
  tokensPerSecond: number,
): void {
  const { tokens, sequences } = countShards(shards);
  const most = input.stretches.reduce((sum, { tokens_max }) => sum + tokens_max, 0);
  const speed = `${Math.round(tokensPerSecond)} tokens/s`;
  context.progress({
    done: tokens,
    total: Math.max(most, tokens),
    unit: 'tokens',
    message: `part ${index + 1} of ${tasks}: ${sequences} sequences, ${speed}`,
    figures: { tokens, tokens_per_second: tokensPerSecond },
  });
}

async function reduce(
  deps: CacheDeps,
  { request }: Task<CacheRequest, null>,
  results: readonly TaskResult[],
  context: TaskContext,
): Promise<TaskOutput> {
  const parts: Progress[] = [];
  for (const { blob } of results) parts.push(decode(await context.blobs.read(blob)));
  const open = await openModel(deps, request);
  const shards = parts.flatMap((part) => part.shards);
  if (shards.length === 0) {
    throw invalidArgument('no document of two tokens or more: there is nothing to attend to', {
      field: 'corpus',
    });
  }
  const manifest = manifestOf(request, open, shards);
  const blobs = blobsOf({ shards });
  if (blobs.length > CACHE_BLOBS_MAX + 1000) {
    throw resourceExhausted(
      `the pass made ${blobs.length} blobs; at most ${CACHE_BLOBS_MAX} are one result: ask for tokens_max or fewer hooks`,
      { field: 'tokens_max', retryable: false, details: { limit: CACHE_BLOBS_MAX } },
    );
  }
  const outcome = await outcomeWithFiles(context.blobs, {
    summary: summaryOf(manifest),
    files: [
      {
        name: MANIFEST_FILE,
        mediaType: 'application/json',
        content: writeActivationManifest(manifest),
      },
    ],
    provenance: await provenanceOf(
      deps,
      request,
      parts.find(({ programs }) => programs.length > 0),
    ),
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

async function provenanceOf(
  { engine, versions }: CacheDeps,
  { model, model_digest, corpus_digest, dtype }: CacheRequest,
  part: Progress | undefined,
): Promise<{ readonly [name: string]: Json }> {
  const report = await engine.report();
  return {
    model,
    model_digest,
    data_digest: corpus_digest,
    programs: part?.programs ?? [],
    precision: dtype === 'f32' ? 'fp32' : 'fp32, kept as fp16',
    provider: report.provider,
    versions: { ...versions, ...engineVersions(report) },
  };
}
