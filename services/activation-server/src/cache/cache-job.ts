import type { JobKind, Task, TaskContext, TaskOutput } from '@heddle/actor';
import { failedPrecondition, invalidArgument } from '@heddle/core';
import { type ActivationShard, type CorpusDocument, countShards } from '@heddle/formats';
import type { BlobDigest, Engine, Hub, Metrics } from '@heddle/ports';
import { CACHE_BYTES_MAX } from '../limits.ts';
import type { ModelRegistry } from '../model-registry.ts';
import type { OpenModel } from '../open-model.ts';
import { encode } from '../read-prompt.ts';
import type { RunService } from '../run-service.ts';
import {
  blobsOf,
  type CacheProgress,
  decodeProgress,
  encodeProgress,
  NOTHING_DONE,
  snapshot,
} from './cache-progress.ts';
import { type CacheRequest, pointsOf, sourceOf } from './cache-request.ts';
import { captureShard, takeShard } from './capture-shard.ts';
import type { Corpora, IndexedCorpus } from './corpora.ts';
import { type CacheSizes, estimateCache, shardTokens } from './estimate-cache.ts';
import { finishCache } from './finish-cache.ts';
import { type CacheTask, planTasks } from './plan-tasks.ts';
import { readSequences, type Sequence } from './read-sequences.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';

export const CACHE_KIND = 'activation.cache';

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
      const tokens = request.task_tokens ?? deps.sizes.taskTokens;
      return planTasks(corpus, request, tokens).map((input) => ({ input, references }));
    },
    run: (task, context) => runTask(deps, task, context),
    async reduce({ request }, results, { blobs }) {
      const parts: CacheProgress[] = [];
      for (const { blob } of results) parts.push(decodeProgress(await blobs.read(blob)));
      const open = await openModel(deps, request);
      return finishCache({ ...deps, blobs }, request, open, parts);
    },
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

type CacheTaskOf = Task<CacheRequest, CacheTask>;

async function runTask(
  deps: CacheDeps,
  task: CacheTaskOf,
  context: TaskContext,
): Promise<TaskOutput> {
  const open = await openModel(deps, task.request);
  const release = await deps.registry.hold(open);
  try {
    return await runHeld(deps, task, context, open);
  } finally {
    release();
  }
}

async function runHeld(
  deps: CacheDeps,
  task: CacheTaskOf,
  context: TaskContext,
  open: OpenModel,
): Promise<TaskOutput> {
  const { request, input } = task;
  const corpus = await openCorpus(deps, request);
  const saved = await context.load();
  const progress = saved ? decodeProgress(saved.bytes) : NOTHING_DONE;
  const options = {
    context: request.context,
    special: await specialIds(deps, open),
    encode: encoder(open, request),
  };
  const sequences = readSequences(corpus, input, options, progress.position);
  try {
    const done = await writeShards({ deps, task, context, open, sequences }, progress);
    return { bytes: encodeProgress({ ...done, position: undefined }), references: blobsOf(done) };
  } catch (thrown) {
    if (context.signal.aborted) await context.pulse(); // says why it was told to stop
    throw thrown;
  } finally {
    await sequences.return(undefined);
  }
}

interface Writing {
  readonly deps: CacheDeps;
  readonly task: CacheTaskOf;
  readonly context: TaskContext;
  readonly open: OpenModel;
  readonly sequences: AsyncIterator<Sequence>;
}

/** Shard by shard to the end of the task, each saved before the next is begun. */
async function writeShards(
  { deps, task, context, open, sequences }: Writing,
  begun: CacheProgress,
): Promise<CacheProgress> {
  const { request, input } = task;
  const capture = {
    model: open.model,
    hooks: pointsOf(open.model.config, request.hooks),
    dtype: request.dtype,
    heldOut: input.held_out,
    signal: context.signal,
  };
  const held = { next: undefined };
  const tokensMax = shardTokens(open.model, request, deps.sizes);
  let progress = begun;
  for (;;) {
    const startMs = context.clock.monotonic();
    const taken = await takeShard(sequences, held, tokensMax);
    const last = taken.at(-1);
    if (last === undefined) return progress;
    const made = await captureShard({ runs: deps.runs, blobs: context.blobs }, taken, capture);
    const shards = [...progress.shards, made.shard];
    progress = { shards, programs: made.programs, position: last.next };
    await context.save(snapshot(progress));
    const seconds = (context.clock.monotonic() - startMs) / 1000;
    count(deps, open, made.shard, seconds);
    tell(task, context, progress, made.shard.tokens / seconds);
    await context.pulse();
  }
}

async function specialIds({ hub }: CacheDeps, { model, tokenizer }: OpenModel) {
  const folder = await hub.open(model.path);
  const { padId } = await readTokenizerFiles(folder).finally(() => folder.release?.());
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
  { input, index, count: tasks }: CacheTaskOf,
  context: TaskContext,
  { shards }: CacheProgress,
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
