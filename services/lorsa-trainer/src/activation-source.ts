import { outcomeOf, waitForJob } from '@heddle/client';
import { dataLoss, failedPrecondition, OperationError } from '@heddle/core';
import { readActivationManifest, shardBlobs } from '@heddle/formats';
import type { BlobDigest, Blobs, Clients } from '@heddle/ports';
import type { Job } from '@heddle/ports/proto/common';
import { defaultTexts } from './default-texts.ts';
import type { DataRequest } from './train-request.ts';

/** What activations are wanted of: equal questions are one pass, whoever asks. */
export interface ActivationQuestion {
  readonly model: string;
  readonly hooks: readonly string[];
  readonly data: DataRequest;
  /** Tokens per sequence. */
  readonly context: number;
}

/** Cached activations: the job that made them, and the blob of their manifest. */
export interface CachedActivations {
  readonly job: string;
  readonly digest: BlobDigest;
}

export interface WaitOptions {
  readonly signal: AbortSignal;
  /** Of which values will be read. */
  readonly hooks: readonly string[];
  readonly onProgress?: (progress: { done: number; total: number; unit: string }) => void;
}

/** Where activations come from. */
export interface ActivationSource {
  /** Starts the pass, or finds it under way or done; the job's id at once. */
  start(question: ActivationQuestion, signal: AbortSignal): Promise<string>;
  /** Waits for a pass. Errors: its own; `failed_precondition` for a job of another kind or one that was cancelled. */
  finished(job: string, options: WaitOptions): Promise<CachedActivations>;
}

/** The artifact that names the shards. */
const MANIFEST = 'activations.json';
const KIND = 'activation.cache';

export interface RemoteDeps {
  readonly activation: Clients['activation'];
  /** Of the process that answers `activation`. */
  readonly jobs: Clients['jobs'];
  readonly blobs: Blobs;
}

/** The activation server over gRPC. What it keeps elsewhere than we do is copied over. */
export function remoteActivations({ activation, jobs, blobs }: RemoteDeps): ActivationSource {
  return {
    async start({ model, hooks, data, context }, signal) {
      if (data.activations !== '') return data.activations;
      const { job } = await activation.StartCacheActivations(
        {
          model,
          hooks,
          context,
          corpus: data.corpus,
          prompts: data.corpus === '' ? promptsOf(data) : [],
          tokens_max: data.tokens_max,
          dtype: 'ELEMENT_TYPE_F32',
        },
        { signal },
      );
      if (job) return job.id;
      throw new OperationError({ code: 'internal', message: 'the activation server named no job' });
    },

    async finished(id, { signal, hooks, onProgress }) {
      const job = await waitForJob(jobs, id, {
        signal,
        onChange: ({ progress }) => progress && onProgress?.(progress),
      });
      requireMade(job);
      const { artifacts } = await outcomeOf(jobs, id, { signal });
      const digest = artifacts.find(({ name }) => name === MANIFEST)?.digest as BlobDigest;
      if (!digest) {
        throw failedPrecondition(`job ${id} cached no activations`, { field: 'data.activations' });
      }
      await fetched({ jobs, blobs }, { id, digest, signal });
      // Each is looked for, also where the manifest is here: an earlier copy may have stopped half way, or been of other hooks.
      const manifest = readActivationManifest(await blobs.read(digest));
      const shards = shardBlobs(manifest, hooks) as BlobDigest[];
      for (const [done, shard] of shards.entries()) {
        const copied = await fetched({ jobs, blobs }, { id, digest: shard, signal });
        if (copied) onProgress?.({ done, total: shards.length, unit: 'shards' });
      }
      return { job: id, digest };
    },
  };
}

/** Copies a blob of a job's result over, unless it is here; whether it did. */
async function fetched(
  { jobs, blobs }: Pick<RemoteDeps, 'jobs' | 'blobs'>,
  from: { readonly id: string; readonly digest: BlobDigest; readonly signal: AbortSignal },
): Promise<boolean> {
  const { id, digest, signal } = from;
  if (await blobs.stat(digest)) return false;
  async function* chunks() {
    for await (const { data } of jobs.ReadArtifact({ id, name: digest }, { signal })) {
      if (data) yield data;
    }
  }
  const put = await blobs.put(chunks());
  if (put.digest !== digest) throw dataLoss(`${digest} of job ${id} came as ${put.digest}`);
  return true;
}

/** The text itself; without any, the generated text of the bundled model's own tasks. */
function promptsOf({ prompts }: DataRequest) {
  if (prompts.length === 0) return defaultTexts().map((text) => ({ text }));
  return prompts.map((one) => ('text' in one ? one : { tokens: { ids: one.tokens } }));
}

function requireMade({ id, kind, state, error }: Job): void {
  if (kind !== KIND) {
    throw failedPrecondition(`job ${id} is a ${kind}; a ${KIND} is expected`, {
      field: 'data.activations',
    });
  }
  if (state === 'JOB_STATE_SUCCEEDED') return;
  if (error === null) {
    throw failedPrecondition(`job ${id}, which captures the activations, was cancelled`, {
      field: 'data.activations',
    });
  }
  throw new OperationError({
    code: error.code as OperationError['code'],
    message: `capturing activations (job ${id}): ${error.message}`,
    retryable: false,
    details: { job: id },
    ...(error.field === '' ? {} : { field: `data.${error.field}` }),
  });
}
