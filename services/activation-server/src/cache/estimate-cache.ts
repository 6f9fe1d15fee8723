import { resourceExhausted } from '@heddle/core';
import { estimateForward, planForward } from '@heddle/models';
import type { LoadedModel } from '@heddle/ports';
import { BYTES_PER_ELEMENT } from '@heddle/tensor';
import {
  BATCH_TOKENS_MAX,
  CACHE_BLOBS_MAX,
  CACHE_BYTES_MAX,
  CACHE_FLOPS,
  SHARD_BYTES_MAX,
  SHARD_HOOK_BYTES_MAX,
  SHARD_TOKENS_MAX,
  SHARED_TASK_FLOPS,
  TASK_BLOBS_MAX,
  TASK_FLOPS,
  TASK_TOKENS,
  TASKS_SHARED,
} from '../limits.ts';
import { type CheckedCache, pointsOf, widthOf } from './cache-request.ts';
import type { IndexedCorpus } from './corpora.ts';
import { estimateTokens, planTasks } from './plan-tasks.ts';

type Asked = Pick<CheckedCache, 'hooks' | 'context' | 'tokens_max' | 'dtype'>;

/** How a pass is cut up. A test makes small ones. */
export interface CacheSizes {
  /** Padded tokens of a shard. */
  readonly shardTokens: number;
  /** Of a task of a small model, about. */
  readonly taskTokens: number;
}

export const CACHE_SIZES: CacheSizes = { shardTokens: SHARD_TOKENS_MAX, taskTokens: TASK_TOKENS };

interface TokenBytes {
  /** Of one token at all hooks. */
  readonly all: number;
  /** At the widest. */
  readonly widest: number;
}

function tokenBytes({ config }: LoadedModel, { hooks, dtype }: Asked): TokenBytes {
  const widths = pointsOf(config, hooks).map((point) => widthOf(point) * BYTES_PER_ELEMENT[dtype]);
  return { all: widths.reduce((sum, width) => sum + width, 0), widest: Math.max(...widths) };
}

/** Padded tokens of one shard: as many as both its blobs and all of it may be, one sequence at least. */
export function shardTokens(
  model: LoadedModel,
  asked: Asked,
  { shardTokens: sized }: CacheSizes = CACHE_SIZES,
): number {
  const { all, widest } = tokenBytes(model, asked);
  const most = Math.min(
    sized,
    Math.floor(SHARD_HOOK_BYTES_MAX / widest),
    Math.floor(SHARD_BYTES_MAX / all),
  );
  return Math.max(asked.context, most);
}

/**
 * Tokens of one task, about: what a core takes some seconds for, less where several workers would wait for the last one, one
 * full batch at least, and no more tasks than blobs can be spared for.
 */
export function taskTokens(
  model: LoadedModel,
  asked: Asked,
  corpus: Pick<IndexedCorpus, 'bytes'>,
  { taskTokens: most }: CacheSizes = CACHE_SIZES,
): number {
  const { hooks, context } = asked;
  const plan = planForward(model, { hooks, pos: context });
  const { flops } = estimateForward(model, plan, { batch: 1, pos: context });
  const tasksMax = Math.max(1, Math.floor(TASK_BLOBS_MAX / (hooks.length + 1)));
  const total = estimateTokens(corpus, asked.tokens_max);
  const tokensOf = (computed: number): number => Math.ceil((computed * context) / flops);
  const shared = Math.max(tokensOf(SHARED_TASK_FLOPS), Math.ceil(total / TASKS_SHARED));
  const quick = Math.min(tokensOf(TASK_FLOPS), shared);
  const spared = Math.ceil(total / tasksMax);
  return Math.min(most, Math.max(BATCH_TOKENS_MAX, context, quick, spared));
}

/** Time on one core, and what a worker holds: one shard, and the blob that is being written. */
export function estimateCache(
  model: LoadedModel,
  asked: Asked,
  corpus: Pick<IndexedCorpus, 'bytes'>,
) {
  const { hooks, context, tokens_max } = asked;
  const plan = planForward(model, { hooks, pos: context });
  const { flops, peakBytes } = estimateForward(model, plan, { batch: 1, pos: context });
  const tokens = estimateTokens(corpus, tokens_max);
  const { all, widest } = tokenBytes(model, asked);
  return {
    seconds: Math.ceil((flops * (tokens / context)) / CACHE_FLOPS),
    bytes: shardTokens(model, asked) * (all + widest) + peakBytes,
  };
}

/** Errors: `resource_exhausted` with the estimate and what would fit. */
export function checkCacheSize(model: LoadedModel, asked: Asked, corpus: IndexedCorpus): void {
  const tokens = estimateTokens(corpus, asked.tokens_max);
  const { all } = tokenBytes(model, asked);
  const bytes = tokens * all;
  if (bytes > CACHE_BYTES_MAX) {
    const fits = Math.floor(CACHE_BYTES_MAX / all);
    throw resourceExhausted(
      `activations of about ${tokens} tokens are ${bytes} bytes; one pass keeps at most ${CACHE_BYTES_MAX}, which ${fits} tokens fill: ask for tokens_max, fewer hooks or ELEMENT_TYPE_F16`,
      {
        field: 'tokens_max',
        retryable: false,
        details: { limit: CACHE_BYTES_MAX, estimate: bytes, tokens: fits },
      },
    );
  }
  const tasks = planTasks(corpus, asked, taskTokens(model, asked, corpus)).length;
  const each = shardTokens(model, asked);
  const shards = Math.ceil(tokens / each) + tasks;
  const blobs = shards * (asked.hooks.length + 1);
  if (blobs <= CACHE_BLOBS_MAX) return;
  const fits = each * Math.max(1, Math.floor(CACHE_BLOBS_MAX / (asked.hooks.length + 1)) - tasks);
  throw resourceExhausted(
    `about ${shards} shards of ${asked.hooks.length} hooks are ${blobs} blobs; one pass has at most ${CACHE_BLOBS_MAX}: ask for tokens_max ${fits} or fewer hooks`,
    {
      field: 'hooks',
      retryable: false,
      details: { limit: CACHE_BLOBS_MAX, estimate: blobs, tokens: fits },
    },
  );
}
