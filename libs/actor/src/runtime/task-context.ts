import { assert, OperationError } from '@heddle/core';
import type { Blobs, Clock, Log, Tracing } from '@heddle/ports';
import type { JobError, KeptBlob } from '../job/events.ts';
import type { Checkpoint } from '../job/state.ts';
import { JOB_LIMITS } from '../limits.ts';
import { frameCheckpoint, openCheckpoint } from './checkpoint-frame.ts';
import type { Progress, Snapshot, TaskContext } from './job-kind.ts';
import { inSpan } from './job-spans.ts';
import type { Lease } from './lease.ts';
import { maySave } from './stop-reason.ts';

export interface AttemptContextOptions {
  readonly job: string;
  readonly task: number;
  readonly claim: string;
  readonly attempt: number;
  readonly lease: Lease;
  readonly checkpoint: Checkpoint | undefined;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  /** Commits through the fence. Errors: `aborted`. */
  commit(blob: KeptBlob, cursor: number): Promise<void>;
  /** Gives the newest checkpoint up, through the fence; resolves to the one that counts now. Errors: `aborted`. */
  lose(checkpoint: Checkpoint, reason: string): Promise<Checkpoint | undefined>;
  publish(progress: Progress): void;
  readonly tracing: Tracing;
}

/** What one attempt sees of the runtime. */
export class AttemptContext implements TaskContext {
  readonly signal: AbortSignal;
  readonly attempt: number;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  private readonly options: AttemptContextOptions;
  private checkpoint: Checkpoint | undefined;
  private readonly startedMs: number;
  private publishedMs = Number.NEGATIVE_INFINITY;

  constructor(options: AttemptContextOptions) {
    this.options = options;
    this.signal = options.lease.signal;
    this.attempt = options.attempt;
    this.blobs = options.blobs;
    this.clock = options.clock;
    this.startedMs = options.clock.monotonic();
    this.log = options.log;
    this.checkpoint = options.checkpoint;
  }

  async load(): Promise<Snapshot | undefined> {
    while (this.checkpoint !== undefined) {
      const { checkpoint } = this;
      try {
        return await this.read(checkpoint);
      } catch (error) {
        const { code, message } = OperationError.from(error);
        if (code !== 'data_loss' && code !== 'not_found') throw error;
        this.checkpoint = await this.options.lose(checkpoint, message);
        const next = this.checkpoint === undefined ? 'the beginning' : `${this.checkpoint.cursor}`;
        this.log.warn(`the checkpoint at ${checkpoint.cursor} is damaged: going on from ${next}`, {
          error,
        });
      }
    }
    return undefined;
  }

  private async read({ blob, cursor, references }: Checkpoint): Promise<Snapshot> {
    const { job, task } = this.options;
    const framed = await this.blobs.read(blob);
    return { bytes: openCheckpoint(framed, { job, task, cursor }), cursor, references };
  }

  async save(snapshot: Snapshot): Promise<void> {
    const { job, lease, tracing } = this.options;
    const { cursor } = snapshot;
    assert(Number.isFinite(cursor), () => `cursor ${cursor} of ${job}`);
    if (lease.reason !== undefined && !maySave(lease.reason)) throw this.signal.reason;
    const attributes = { 'heddle.checkpoint.cursor': cursor };
    const span = tracing.begin({ name: 'checkpoint', attributes });
    await inSpan(span, async () => {
      span.set({ 'heddle.checkpoint.bytes': await this.keep(snapshot) });
    });
  }

  /** How many bytes it took. */
  private async keep(snapshot: Snapshot): Promise<number> {
    const { job, task, claim } = this.options;
    const { cursor, references = [] } = snapshot;
    const framed = frameCheckpoint({ job, task, cursor, claim }, snapshot.bytes);
    const { digest, bytes } = await this.blobs.put(framed);
    const kept = { blob: digest, bytes, references };
    await this.options.commit(kept, cursor);
    this.checkpoint = { ...kept, cursor };
    return bytes;
  }

  progress(progress: Progress): void {
    const nowMs = this.clock.monotonic();
    const last = progress.done >= progress.total;
    const { progressEveryMs, progressQuickMs, progressSlowMs } = JOB_LIMITS;
    const everyMs = nowMs - this.startedMs < progressQuickMs ? progressEveryMs : progressSlowMs;
    if (!last && nowMs - this.publishedMs < everyMs) return;
    this.publishedMs = nowMs;
    const figures = Object.entries(progress.figures ?? {}).filter(([, n]) => Number.isFinite(n));
    this.options.publish({ ...progress, figures: Object.fromEntries(figures) });
  }

  async pulse(snapshot?: () => Snapshot): Promise<void> {
    await this.clock.sleep(0);
    const { reason } = this.options.lease;
    if (reason === undefined) return;
    if (snapshot !== undefined && maySave(reason)) await this.save(snapshot());
    throw this.signal.reason;
  }
}

/** What of an error is kept and told. */
export function jobError(thrown: unknown): JobError {
  const { code, message, field, retryable, details } = OperationError.from(thrown);
  return { code, message, retryable, details, ...(field === undefined ? {} : { field }) };
}
