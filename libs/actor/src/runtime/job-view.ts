import type { Json } from '@heddle/core';
import type { BlobDigest } from '@heddle/ports';
import type { JobError } from '../job/events.ts';
import { type JobState, ownerOf } from '../job/state.ts';
import type { Progress } from './job-kind.ts';

export type ViewStatus = 'queued' | 'running' | 'paused' | 'completed' | 'failed' | 'cancelled';

/** A job, as people and programs see it. */
export interface JobView {
  readonly id: string;
  readonly kind: string;
  /** Whose it is; empty where no tokens are asked for. */
  readonly tenant: string;
  readonly key: string;
  readonly request: Json;
  readonly status: ViewStatus;
  readonly createdMs: number;
  readonly startedMs?: number;
  readonly updatedMs: number;
  readonly finishedMs?: number;
  readonly tasks: { readonly count: number; readonly done: number; readonly running: number };
  /** Attempts at its tasks so far, all of them. */
  readonly attempts: number;
  /** Those of them that failed or were lost with their process, and were made again. */
  readonly setbacks: number;
  /** Checkpoints that were found damaged: it went on from those before them. */
  readonly checkpointsLost: number;
  /** Of the furthest committed checkpoint, in the kind's own units. */
  readonly cursor?: number;
  readonly progress?: Progress;
  readonly error?: JobError;
  readonly result?: {
    readonly digest: BlobDigest;
    readonly bytes: number;
    readonly references: readonly BlobDigest[];
  };
  /** What makes the result again. */
  readonly provenance?: { readonly [name: string]: Json };
  readonly pinned: boolean;
  readonly sequence: number;
}

export function viewOf(state: JobState, progress?: Progress): JobView {
  const { id, kind, key, request, createdMs, startedMs, updatedMs, finishedMs, error } = state;
  const done = state.tasks.filter((task) => task.phase === 'done').length;
  const running = state.tasks.filter((task) => task.phase === 'running').length;
  const cursors = state.tasks.flatMap((task) => task.checkpoint?.cursor ?? []);
  const { result } = state;
  return {
    id,
    kind,
    tenant: ownerOf(state),
    key,
    request,
    status: statusOf(state),
    createdMs,
    updatedMs,
    tasks: { count: state.tasks.length, done, running },
    attempts: state.starts,
    setbacks: state.setbacks ?? 0,
    checkpointsLost: state.checkpointsLost ?? 0,
    pinned: state.pinned,
    sequence: state.sequence,
    ...(startedMs === undefined ? {} : { startedMs }),
    ...(finishedMs === undefined ? {} : { finishedMs }),
    ...(cursors.length === 0 ? {} : { cursor: Math.max(...cursors) }),
    ...(progress === undefined ? {} : { progress: overall(progress, done, state.tasks.length) }),
    ...(error === undefined ? {} : { error }),
    ...(result === undefined
      ? {}
      : {
          result: { digest: result.blob, bytes: result.bytes, references: result.references },
          provenance: { job: id, kind, request, ...result.provenance },
        }),
  };
}

/** One task's progress is the job's; of several, what counts is how many are done. */
function overall(progress: Progress, done: number, count: number): Progress {
  return count === 1 ? progress : { ...progress, done, total: count, unit: 'tasks' };
}

export function statusOf({ status, starts }: JobState): ViewStatus {
  if (status === 'active') return starts === 0 ? 'queued' : 'running';
  return status === 'absent' ? 'queued' : status;
}
