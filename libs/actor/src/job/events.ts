import type { Code, Details, Json } from '@heddle/core';
import type { BlobDigest } from '@heddle/ports';

/** An error as a journal and a client see it: the cause stays in the log. */
export interface JobError {
  readonly code: Code;
  readonly message: string;
  readonly field?: string;
  readonly retryable: boolean;
  readonly details?: Details;
}

/** A blob that a job keeps, with its size and the blobs that it names. */
export interface KeptBlob {
  readonly blob: BlobDigest;
  readonly bytes: number;
  readonly references: readonly BlobDigest[];
}

/** A result, or a part of one. */
export interface KeptOutput extends KeptBlob {
  /** Bytes of the blob and of all that it names: what its owner is charged with. Older journals do not say. */
  readonly retained?: number;
  readonly provenance: Provenance;
}

export interface Provenance {
  readonly [name: string]: Json;
}

export interface SplitTask {
  readonly input: Json;
  readonly references: readonly BlobDigest[];
}

interface Stamp {
  /** The version that first wrote this shape. A change of meaning gets the next number and an upcast in `codec.ts`. */
  readonly v: 1;
  /** Decided by the replica that appended, so that a fold needs nothing but events. */
  readonly timeMs: number;
}

/** An attempt's events carry its claim: the name under which one worker, once, started the task. */
interface Attempt extends Stamp {
  readonly task: number;
  readonly claim: string;
}

export interface Submitted extends Omit<Stamp, 'v'> {
  /** 3 with an owner: a Heddle that knows of none would show it to everybody. */
  readonly v: 1 | 3;
  readonly type: 'submitted';
  /** Who started it; absent is nobody in particular. */
  readonly tenant?: string;
  readonly kind: string;
  readonly key: string;
  readonly request: Json;
  readonly pinned: boolean;
  readonly attemptsMax: number;
  /** `traceparent` of who asked for it, so that its tasks are parts of his trace. Nothing else depends on it. */
  readonly trace?: string;
}

export interface Split extends Stamp {
  readonly type: 'split';
  readonly tasks: readonly SplitTask[];
  /** Whether one more task (index = number of tasks) makes the result of the others' outputs. */
  readonly reduce: boolean;
}

export interface Started extends Attempt {
  readonly type: 'started';
}
export interface Checkpointed extends Attempt, KeptBlob {
  readonly type: 'checkpointed';
  readonly cursor: number;
}
/** The newest checkpoint could not be read whole: the one before it counts from now on, or the beginning. Since version 2. */
export interface CheckpointLost extends Omit<Attempt, 'v'> {
  readonly v: 2;
  readonly type: 'checkpoint-lost';
  readonly blob: BlobDigest;
  readonly cursor: number;
  readonly reason: string;
}
/** Handed back unfinished, on a pause or a drain. */
export interface Released extends Attempt {
  readonly type: 'released';
}
export interface AttemptFailed extends Attempt {
  readonly type: 'attempt-failed';
  readonly error: JobError;
  readonly retryAtMs: number;
}
export interface TaskDone extends Attempt, KeptOutput {
  readonly type: 'task-done';
}
export interface Paused extends Stamp {
  readonly type: 'paused';
}
export interface Resumed extends Stamp {
  readonly type: 'resumed';
}
export interface Cancelled extends Stamp {
  readonly type: 'cancelled';
}
export interface Failed extends Stamp {
  readonly type: 'failed';
  readonly error: JobError;
}
export interface Completed extends Stamp, KeptOutput {
  readonly type: 'completed';
}
export interface Pinned extends Stamp {
  readonly type: 'pinned';
  readonly pinned: boolean;
}
/** The end of its journal, which whoever wrote it (or comes after a crash) removes. Since version 3. */
export interface Forgotten extends Omit<Stamp, 'v'> {
  readonly v: 3;
  readonly type: 'forgotten';
}

/** Everything that can have happened to a job. */
export type JobEvent =
  | Submitted
  | Split
  | Started
  | Checkpointed
  | CheckpointLost
  | Released
  | AttemptFailed
  | TaskDone
  | Paused
  | Resumed
  | Cancelled
  | Failed
  | Completed
  | Pinned
  | Forgotten;
