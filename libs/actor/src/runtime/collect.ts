import type { BlobDigest, BlobStat, Blobs, Clock, Journal } from '@heddle/ports';
import { JOB_STREAMS } from '../job/behaviour.ts';
import { type GcPlan, planGc } from '../job/gc.ts';
import type { JobState } from '../job/state.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { JobActors } from './job-actors.ts';

export interface GcOptions {
  /** Only what is past its kind's budget, as is done every hour; otherwise all that no pinned or unfinished job needs. */
  readonly withinBudgets?: boolean;
  /** Decide and report, free nothing. */
  readonly dryRun?: boolean;
}

/** What was freed, or with `dryRun` would be. */
export interface GcReport {
  readonly jobs: GcPlan['forget'];
  readonly blobs: { readonly count: number; readonly bytes: number };
  readonly journalBytes: number;
  /** Of blobs and journal together. */
  readonly freedBytes: number;
  readonly keptBytes: number;
  readonly dryRun: boolean;
}

export interface CollectOptions extends GcOptions {
  readonly actors: JobActors;
  readonly journal: Journal;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly roots: readonly BlobDigest[];
  readonly retainedBytesMax: (kind: string) => number;
}

/**
 * Frees what `planGc` says. Garbage first: on a full disk that makes the room which forgetting a journal needs. Then
 * journals before the blobs that they name, so that a crash in between leaves garbage and never a job without its blobs.
 */
export async function collect(options: CollectOptions): Promise<GcReport> {
  const { actors, journal, blobs, clock, dryRun = false } = options;
  const stats: BlobStat[] = [];
  for await (const stat of blobs.list()) stats.push(stat);
  const jobs: JobState[] = [];
  for await (const id of actors.ids()) jobs.push(await actors.look(id));
  const nowMs = clock.now();
  const plan = planGc({
    nowMs,
    jobs,
    blobs: stats,
    roots: options.roots,
    retainedBytesMax: options.retainedBytesMax,
    retainedJobsMax: JOB_LIMITS.retainedJobsMax,
    withinBudgets: options.withinBudgets ?? false,
    graceMs: JOB_LIMITS.blobGraceMs,
  });
  const before = await journal.bytes();
  if (!dryRun) await free(options, plan, nowMs);
  const journalBytes = Math.max(0, before - (await journal.bytes()));
  return {
    jobs: plan.forget,
    blobs: { count: plan.garbage.length + plan.released.length, bytes: plan.freedBytes },
    journalBytes,
    freedBytes: plan.freedBytes + journalBytes,
    keptBytes: plan.keptBytes,
    dryRun,
  };
}

async function free(options: CollectOptions, plan: GcPlan, nowMs: number): Promise<void> {
  const { actors, journal, blobs } = options;
  const unlessModifiedSinceMs = nowMs - JOB_LIMITS.blobGraceMs;
  for (const { digest } of plan.garbage) await blobs.remove(digest, { unlessModifiedSinceMs });
  for (const { id } of plan.forget) {
    await journal.remove(`${JOB_STREAMS}${id}`);
    actors.forget(id);
  }
  for (const { digest, unlessModifiedSinceMs } of plan.released) {
    await blobs.remove(digest, { unlessModifiedSinceMs });
  }
}
