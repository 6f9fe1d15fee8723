import { outcomeOf, waitForJob } from '@heddle/client';
import { failedPrecondition, OperationError } from '@heddle/core';
import type { BlobDigest, Clients } from '@heddle/ports';
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

/** The activation server over gRPC. */
export function remoteActivations(peers: Pick<Clients, 'activation' | 'jobs'>): ActivationSource {
  return {
    async start({ model, hooks, data, context }, signal) {
      if (data.activations !== '') return data.activations;
      const { job } = await peers.activation.StartCacheActivations(
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

    async finished(id, { signal, onProgress }) {
      const job = await waitForJob(peers.jobs, id, {
        signal,
        onChange: ({ progress }) => progress && onProgress?.(progress),
      });
      requireMade(job);
      const { artifacts } = await outcomeOf(peers.jobs, id, { signal });
      const manifest = artifacts.find(({ name }) => name === MANIFEST);
      if (manifest) return { job: id, digest: manifest.digest as BlobDigest };
      throw failedPrecondition(`job ${id} cached no activations`, { field: 'data.activations' });
    },
  };
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
