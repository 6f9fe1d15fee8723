import { setTimeout } from 'node:timers/promises';
import { dataLoss, type Json, OperationError, present, resourceExhausted } from '@heddle/core';
import type { CallOptions, Client } from '@heddle/ports';
import type { Artifact, Job, JobState, Provenance } from '@heddle/ports/proto/common';
import type { JobsService } from '@heddle/ports/proto/jobs';
import {
  ARTIFACT_BYTES_MAX,
  WATCH_HEALTHY_MS,
  WATCH_PATIENCE_MS,
  WATCH_PAUSE_MS_MAX,
  WATCH_PAUSE_MS_MIN,
  WATCH_RESUMES_MAX,
} from './limits.ts';

type Jobs = Client<JobsService>;

const ENDED: ReadonlySet<JobState> = new Set([
  'JOB_STATE_SUCCEEDED',
  'JOB_STATE_FAILED',
  'JOB_STATE_CANCELLED',
]);

const hasEnded = (job: Job): boolean => ENDED.has(job.state);

export interface WatchOptions extends CallOptions {
  /** How long the stream may be broken before that is the caller's error: a minute; 0 tries again three times at once. */
  readonly patienceMs?: number;
  /** Told when the stream broke and is asked for again after a pause; the job itself goes on meanwhile. */
  readonly onSilence?: (error: OperationError) => void;
}

/** The job now and after every change, until it has ended; goes on by itself when the stream breaks. */
export async function* watchJob(
  jobs: Jobs,
  id: string,
  { patienceMs, onSilence, ...call }: WatchOptions = {},
): AsyncGenerator<Job> {
  let sequence = -1;
  const breaks = new Breaks(patienceMs ?? WATCH_PATIENCE_MS, call.signal);
  for (;;) {
    let error = new OperationError({
      code: 'unavailable',
      message: `the server stopped telling about job ${id} before it ended; ask again later`,
    });
    try {
      breaks.opened();
      for await (const { job } of jobs.Watch({ id }, call)) {
        if (job === null) continue;
        if (job.sequence > sequence) breaks.forget(); // only news counts: a stream that breaks for ever must end
        sequence = job.sequence;
        yield job;
        if (hasEnded(job)) return;
      }
    } catch (thrown) {
      error = OperationError.from(thrown);
      if (error.code !== 'unavailable') throw error;
    }
    await breaks.pause(error, onSilence);
  }
}

/** Breaks of one watch in a row: the first are followed by another try at once, the others by pauses that grow. */
class Breaks {
  private readonly patienceMs: number;
  private readonly signal: AbortSignal | undefined;
  private count = 0;
  private sinceMs = 0;
  private openedMs = 0;

  constructor(patienceMs: number, signal: AbortSignal | undefined) {
    this.patienceMs = patienceMs;
    this.signal = signal;
  }

  opened(): void {
    this.openedMs = performance.now();
  }

  forget(): void {
    this.count = 0;
  }

  /** Resolves when it is time to ask again. Errors: the given one, once patience has ended; that of the signal. */
  async pause(error: OperationError, told?: (error: OperationError) => void): Promise<void> {
    const nowMs = performance.now();
    if (nowMs - this.openedMs > WATCH_HEALTHY_MS) this.forget();
    if (this.count === 0) this.sinceMs = nowMs;
    this.count++;
    const pauses = this.count - WATCH_RESUMES_MAX;
    if (pauses <= 0) return;
    if (nowMs - this.sinceMs >= this.patienceMs) throw error;
    told?.(error);
    const delayMs = Math.min(WATCH_PAUSE_MS_MIN * 2 ** (pauses - 1), WATCH_PAUSE_MS_MAX);
    await setTimeout(delayMs, undefined, this.signal && { signal: this.signal }).catch(() => {
      throw OperationError.from(this.signal?.reason);
    });
  }
}

/** The job once it has ended. */
export async function waitForJob(
  jobs: Jobs,
  id: string,
  options: WatchOptions & { readonly onChange?: (job: Job) => void } = {},
): Promise<Job> {
  const { onChange, ...watch } = options;
  let last: Job | undefined;
  for await (const job of watchJob(jobs, id, watch)) {
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
