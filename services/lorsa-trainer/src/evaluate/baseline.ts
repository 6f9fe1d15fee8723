import type { JobView } from '@heddle/actor';
import {
  canonicalJson,
  failedPrecondition,
  type Json,
  OperationError,
  present,
} from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { readSaeFiles, SAE_CONFIG_FILE, SAE_WEIGHTS_FILE, type SaeLayer } from '@heddle/interp/sae';
import { type BlobDigest, decodeOutcome } from '@heddle/ports';
import { digestOf } from '../programs.ts';
import {
  type BaselineDeps,
  type BaselineRequest,
  baselineRequest,
  resultOf,
} from './baseline-request.ts';

const KIND = 'lorsa.baseline';

/** Jobs of one baseline that failed or were cancelled before a new one is no longer started. */
const ENDED_MAX = 16;

/**
 * The baseline's job, started or found under way or done: equal baselines are one job, whoever asks. One that failed or
 * was cancelled does not stand in the way of the next.
 */
export async function startBaseline(
  deps: BaselineDeps,
  request: BaselineRequest,
): Promise<JobView> {
  const key = digestOf(canonicalJson(request as unknown as Json));
  for (let attempt = 0; attempt < ENDED_MAX; attempt++) {
    const suffix = attempt === 0 ? '' : ` ${attempt}`;
    const view = await deps.jobs.submit(KIND, request as unknown as Json, {
      key: `${key}${suffix}`,
    });
    if (view.status !== 'failed' && view.status !== 'cancelled') return view;
  }
  throw failedPrecondition(
    `the baseline of training ${request.training} failed or was cancelled ${ENDED_MAX} times`,
    { field: 'baseline' },
  );
}

/** A training's baseline, finished: started if there is none yet. Errors: the baseline's own, naming its job. */
export async function ensureBaseline(
  deps: BaselineDeps,
  training: string,
  seed: number,
  signal: AbortSignal,
  onStart?: (job: string) => void,
): Promise<string> {
  const started = await startBaseline(deps, await baselineRequest(deps, training, seed, signal));
  onStart?.(started.id);
  const ended = started.status === 'completed' ? started : await deps.jobs.wait(started.id, signal);
  if (ended.status === 'completed') return ended.id;
  throw new OperationError({
    code: (ended.error?.code as OperationError['code']) ?? 'failed_precondition',
    message: `the baseline (job ${ended.id}) ${ended.error?.message ?? `was ${ended.status}`}`,
    field: 'baseline',
    retryable: false,
    details: { job: ended.id },
  });
}

/** The autoencoder that a finished baseline made, in the host's units. Errors: those of the job and of its files. */
export async function openBaseline(
  deps: Pick<BaselineDeps, 'blobs' | 'jobs'>,
  job: string,
): Promise<SaeLayer> {
  const { artifacts } = decodeOutcome(await resultOf(deps, job));
  const read = async (name: string) => {
    const found = artifacts.find((artifact) => artifact.name === name);
    const { digest } = present(found, `${name} of baseline ${job}`);
    return deps.blobs.read(digest as BlobDigest);
  };
  const config = new TextDecoder().decode(await read(SAE_CONFIG_FILE));
  return readSaeFiles(config, readSafetensors(SAE_WEIGHTS_FILE, await read(SAE_WEIGHTS_FILE)));
}
