import type { JobRuntime, JobView } from '@heddle/actor';
import { invalidArgument, OperationError, resourceExhausted } from '@heddle/core';
import type { BlobDigest, Blobs, Handlers, Hub, Metrics } from '@heddle/ports';
import type {
  ActivationService,
  StartCacheActivationsRequest,
} from '@heddle/ports/proto/activation';
import { CACHE_JOBS_MAX } from '../limits.ts';
import type { ModelRegistry } from '../model-registry.ts';
import { refuse } from '../refuse-field.ts';
import { CACHE_KIND, withPrefix } from './cache-job.ts';
import { type CacheRequest, checkCache, promptsFileBytes, questionOf } from './cache-request.ts';
import type { Corpora, CorpusSource } from './corpora.ts';
import { type CacheSizes, checkCacheSize, taskTokens } from './estimate-cache.ts';
import { partsOf } from './plan-tasks.ts';
import { readTokenizerFiles } from './tokenizer-files.ts';

export interface CacheHandlerDeps {
  readonly registry: ModelRegistry;
  readonly corpora: Corpora;
  readonly hub: Hub;
  readonly blobs: Blobs;
  readonly jobs: Pick<JobRuntime, 'submit' | 'list' | 'touch' | 'resume'>;
  readonly metrics: Metrics;
  readonly sizes: CacheSizes;
}

/** Starts an activation pass, or answers with the job that was asked the same before. */
export function cacheHandlers(
  deps: CacheHandlerDeps,
): Pick<Handlers<ActivationService>, 'StartCacheActivations'> {
  const { metrics } = deps;
  return {
    async StartCacheActivations(request) {
      const count = (outcome: string) =>
        metrics.add('activation_cache_requests_total', 1, { outcome });
      try {
        const asked = await readRequest(deps, request);
        const known = await findSame(deps, asked.question);
        if (known.usable) {
          count('reused');
          return { job: { id: (await touched(deps, known.usable)).id } };
        }
        const { id } = await startNew(deps, asked, known.count);
        count('started');
        return { job: { id } };
      } catch (thrown) {
        count('refused');
        throw thrown;
      }
    },
  };
}

async function readRequest(
  deps: CacheHandlerDeps,
  request: StartCacheActivationsRequest,
): Promise<CacheRequest> {
  const open = await deps.registry.open(request.model);
  const checked = checkCache(request, open.model.config);
  const source = await sourceFor(deps, request);
  const corpus = await deps.corpora.open(source);
  if (partsOf(corpus, false).length === 0) {
    throw invalidArgument(`${request.corpus || 'prompts'}: no text in it`, { field: 'corpus' });
  }
  const text = corpus.files.find(({ listed }) => listed.format === 'text');
  if (text && open.tokenizer === undefined) {
    throw refuse(
      'corpus',
      `${text.listed.name} is text, and the model has no tokenizer.json: give ids as jsonl`,
    );
  }
  checkCacheSize(open.model, checked, corpus);
  const folder = await deps.hub.open(open.model.path);
  const { digest } = await readTokenizerFiles(folder).finally(() => folder.release?.());
  const tokens = taskTokens(open.model, checked, corpus, deps.sizes);
  const asked = {
    ...checked,
    ...(tokens < deps.sizes.taskTokens ? { task_tokens: tokens } : {}),
    model: request.model,
    model_digest: withPrefix(open.model.digest),
    tokenizer_digest: digest,
    corpus: 'path' in source ? source.path : '',
    prompts: 'prompts' in source ? source.prompts : '',
    corpus_digest: corpus.digest,
  };
  return { ...asked, question: questionOf(asked) };
}

async function sourceFor(
  { blobs }: CacheHandlerDeps,
  { corpus, prompts }: StartCacheActivationsRequest,
): Promise<CorpusSource> {
  if (corpus !== '') return { path: corpus };
  return { prompts: (await blobs.put(promptsFileBytes(prompts))).digest };
}

/** The job that answers a question, if there is one; and how many ever had it. */
async function findSame(
  { jobs, blobs }: CacheHandlerDeps,
  question: string,
): Promise<{ readonly usable: JobView | undefined; readonly count: number }> {
  let before: string | undefined;
  let usable: JobView | undefined;
  let count = 0;
  for (let seen = 0; seen < CACHE_JOBS_MAX; ) {
    const page = await jobs.list({ kind: CACHE_KIND, ...(before ? { before } : {}) });
    for (const job of page.jobs) {
      if ((job.request as { question?: unknown }).question !== question) continue;
      count++;
      if (usable === undefined && (await isUsable(blobs, job))) usable = job;
    }
    seen += page.jobs.length;
    before = page.next;
    if (before === undefined) break;
  }
  return { usable, count };
}

/**
 * A new job for a question that `ended` jobs had, which failed, were cancelled or lost their blobs. Such a job keeps its name, also
 * when an older one was forgotten and the count alone would give that name out again.
 */
async function startNew(
  { jobs, blobs }: CacheHandlerDeps,
  asked: CacheRequest,
  ended: number,
): Promise<JobView> {
  for (let number = ended + 1; number <= ended + CACHE_JOBS_MAX; number++) {
    const key = number === 1 ? asked.question : `${asked.question}.${number}`;
    // The same text under another path is the same question and another request: refused under a name that is taken.
    const job = await jobs.submit(CACHE_KIND, asked, { key }).catch((thrown: unknown) => {
      if (OperationError.from(thrown).code !== 'already_exists') throw thrown;
    });
    if (job && (await isUsable(blobs, job))) return job;
  }
  throw resourceExhausted(
    `${CACHE_JOBS_MAX} passes that asked the same have ended without an answer`,
    {
      retryable: false,
    },
  );
}

async function isUsable(blobs: Blobs, { status, result, error }: JobView): Promise<boolean> {
  if (status === 'cancelled') return false;
  if (status === 'failed') return error?.retryable === true;
  if (status !== 'completed') return true;
  const kept: readonly BlobDigest[] = result ? [result.digest, ...result.references] : [];
  for (const digest of kept) if ((await blobs.stat(digest)) === undefined) return false;
  return kept.length > 0;
}

/** A job that is asked for again counts as new to whoever frees what is past its budget, and one that could go on does. */
async function touched({ jobs }: CacheHandlerDeps, job: JobView): Promise<JobView> {
  if (job.status === 'paused' || job.status === 'failed') return jobs.resume(job.id);
  if (job.status !== 'completed') return job;
  try {
    return await jobs.touch(job.id);
  } catch (thrown) {
    if (OperationError.from(thrown).code !== 'not_found') throw thrown;
    return job;
  }
}
