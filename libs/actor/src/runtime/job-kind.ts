import type { Json } from '@heddle/core';
import type { BlobDigest, Blobs, Clock, Log } from '@heddle/ports';

/** One piece of a job, as `split` cuts it. Inputs are small (ids, ranges); bulk goes into a blob and its digest in here. */
export interface TaskSpec<Input extends Json = Json> {
  readonly input: Input;
  /** Blobs that this task reads: kept by `gc` as long as the job needs them. */
  readonly references?: readonly BlobDigest[];
}

/** What a job will cost; compared with the request's budget and with the runtime's own before anything is stored. */
export interface Estimate {
  readonly seconds: number;
  /** Working memory and disk together: what the machine must have to spare. */
  readonly bytes: number;
}

/** What a task or a reduction leaves behind: bytes (stored for you) or a blob already put. */
export interface TaskOutput {
  readonly bytes?: Uint8Array;
  readonly blob?: BlobDigest;
  /** Blobs that the output names (shards of a manifest): kept as long as the output is. */
  readonly references?: readonly BlobDigest[];
  /** What is needed to make it again: digests, precision, provider, versions, seed. The last output's goes into the job's. */
  readonly provenance?: { readonly [name: string]: Json };
}

/** A finished task's output, as `reduce` reads it. In the order of `split`, whatever the order of finishing. */
export interface TaskResult {
  readonly index: number;
  readonly blob: BlobDigest;
  readonly bytes: number;
  readonly provenance: { readonly [name: string]: Json };
}

export interface Task<Request extends Json = Json, Input extends Json = Json> {
  readonly job: string;
  readonly index: number;
  readonly count: number;
  readonly request: Request;
  readonly input: Input;
}

/** Progress for people: lost when nobody listens. */
export interface Progress {
  readonly done: number;
  readonly total: number;
  /** Plural noun: `steps`, `prompts`. */
  readonly unit: string;
  readonly message?: string;
  /** Numbers worth seeing live: `{ loss: 0.12, l0: 31 }`. Non-finite ones are dropped. */
  readonly figures?: Readonly<Record<string, number>>;
}

export interface Snapshot {
  readonly bytes: Uint8Array;
  /** How far the work is, in units of your own (steps, prompts); never smaller than that of the checkpoint before. */
  readonly cursor: number;
  /** Blobs that the snapshot names. */
  readonly references?: readonly BlobDigest[];
}

/**
 * What a running task may do besides computing. Nothing that it writes counts unless this attempt still holds the
 * task: `save` and the returned output are committed through the journal's fence.
 */
export interface TaskContext {
  /** Fires on cancel, pause, drain and a lost lease. Pass it on to engines. */
  readonly signal: AbortSignal;
  /** 1 for the first attempt since the last checkpoint that went further. */
  readonly attempt: number;
  readonly blobs: Blobs;
  readonly clock: Clock;
  /** Carries the job's id. */
  readonly log: Log;
  /**
   * The last committed checkpoint that is whole, of this or an earlier attempt. A damaged one is given up for the one
   * before it, which the journal and `JobView.checkpointsLost` tell; without another, the task begins anew.
   */
  load(): Promise<Snapshot | undefined>;
  /** Stores and commits a checkpoint. Errors: `aborted` when another attempt holds the task or the job has ended. */
  save(snapshot: Snapshot): Promise<void>;
  /** At most four a second are sent on. */
  progress(progress: Progress): void;
  /**
   * Call between steps. Lets timers and messages run, and throws when the task must stop; on a pause or a drain it
   * first saves what `snapshot` makes, so that nothing is computed twice.
   */
  pulse(snapshot?: () => Snapshot): Promise<void>;
}

export interface KindLimits {
  /** Tasks of this kind at a time in one process. */
  readonly concurrency: number;
  /** Attempts of one task without a checkpoint that goes further, before the job fails. */
  readonly attemptsMax: number;
  /** A worker that is silent this long has lost its task. */
  readonly ackWaitMs: number;
  /** Messages waiting, from which new jobs are refused. */
  readonly queuedMax: number;
  /** Bytes of finished, unpinned results that `gc` leaves. */
  readonly retainedBytesMax: number;
}

/**
 * A kind of job. Requests are JSON (`Json`), already checked by the handler; `split` and `run` must give the same for
 * the same request, whoever runs them and however often.
 */
export interface JobKind<Request extends Json = Json, Input extends Json = Json> {
  /** `<domain>.<verb>`: lower case, one dot: `lorsa.train`. */
  readonly kind: string;
  readonly limits?: Partial<KindLimits>;
  estimate?(request: Request): Estimate | Promise<Estimate>;
  /**
   * Whether a request that the journal keeps, of whichever version, asks what `now` asks: then its key names the same job.
   * Without it they must be equal.
   */
  sameRequest?(then: Request, now: Request): boolean;
  /** At least one task, at most `JOB_LIMITS.tasksMax`. Runs before the job is accepted: quick, no compute. */
  split(request: Request): readonly TaskSpec<Input>[] | Promise<readonly TaskSpec<Input>[]>;
  run(task: Task<Request, Input>, context: TaskContext): Promise<TaskOutput>;
  /**
   * Makes the job's result of its tasks' outputs, as one more task (index = count). Without it, the result is the only
   * task's output, or a JSON list of the tasks' digests.
   */
  reduce?(
    task: Task<Request, null>,
    results: readonly TaskResult[],
    context: TaskContext,
  ): Promise<TaskOutput>;
}
