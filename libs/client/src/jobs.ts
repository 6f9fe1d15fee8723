import { dataLoss, type Json, OperationError, present, resourceExhausted } from '@heddle/core';
import type { CallOptions, Client } from '@heddle/ports';
import type { Artifact, Job, JobState, Provenance } from '@heddle/ports/proto/common';
import type { JobsService } from '@heddle/ports/proto/jobs';
import { ARTIFACT_BYTES_MAX, WATCH_RESUMES_MAX } from './limits.ts';

type Jobs = Client<JobsService>;

const ENDED: ReadonlySet<JobState> = new Set([
  'JOB_STATE_SUCCEEDED',
  'JOB_STATE_FAILED',
  'JOB_STATE_CANCELLED',
]);

const hasEnded = (job: Job): boolean => ENDED.has(job.state);

/** The job now and after every change, until it has ended; goes on by itself when the stream breaks. */
export async function* watchJob(
  jobs: Jobs,
  id: string,
  options: CallOptions = {},
): AsyncGenerator<Job> {
  let sequence = -1;
  for (let resumes = 0; ; resumes++) {
    try {
      for await (const { job } of jobs.Watch({ id }, options)) {
        if (job === null) continue;
        if (job.sequence > sequence) resumes = 0; // only news counts: a stream that breaks for ever must end
        sequence = job.sequence;
        yield job;
        if (hasEnded(job)) return;
      }
    } catch (thrown) {
      const error = OperationError.from(thrown);
      if (error.code !== 'unavailable' || resumes >= WATCH_RESUMES_MAX) throw error;
    }
    if (resumes >= WATCH_RESUMES_MAX) {
      throw new OperationError({
        code: 'unavailable',
        message: `the server stopped telling about job ${id} before it ended; ask again later`,
      });
    }
  }
}

/** The job once it has ended. */
export async function waitForJob(
  jobs: Jobs,
  id: string,
  options: CallOptions & { readonly onChange?: (job: Job) => void } = {},
): Promise<Job> {
  const { onChange, ...call } = options;
  let last: Job | undefined;
  for await (const job of watchJob(jobs, id, call)) {
    last = job;
    onChange?.(job);
  }
  return present(last, `the end of job ${id}`);
}

export interface Outcome {
  readonly job: Job;
  readonly summary: { readonly [name: string]: Json };
  readonly artifacts: readonly Artifact[];
  readonly provenance: Provenance | null;
}

/** What a finished job found. Errors: those of Result; `failed_precondition` when it has not succeeded. */
export async function outcomeOf(jobs: Jobs, id: string, options?: CallOptions): Promise<Outcome> {
  const { job, summary_json, artifacts, provenance } = await jobs.Result({ id }, options);
  if (job === null) throw dataLoss(`the result of job ${id} came without the job`);
  const summary = JSON.parse(summary_json) as { readonly [name: string]: Json };
  return { job, summary, artifacts, provenance };
}

/** The bytes of one artifact, in chunks. */
export async function* artifactChunks(
  jobs: Jobs,
  id: string,
  name: string,
  options?: CallOptions,
): AsyncGenerator<Uint8Array> {
  for await (const part of jobs.ReadArtifact({ id, name }, options)) {
    if (part.data) yield part.data;
  }
}

/** The bytes of one artifact, whole. Errors: `resource_exhausted` past 256 MiB. */
export async function artifactBytes(
  jobs: Jobs,
  id: string,
  name: string,
  options?: CallOptions,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of artifactChunks(jobs, id, name, options)) {
    bytes += chunk.byteLength;
    if (bytes > ARTIFACT_BYTES_MAX) {
      throw resourceExhausted(`${name} is larger than ${ARTIFACT_BYTES_MAX} bytes: stream it`, {
        details: { limit: ARTIFACT_BYTES_MAX },
        retryable: false,
      });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}
