import { OperationError } from '@heddle/core';
import type { BlobDigest, BlobStat, Blobs, Clock, Journal, Log } from '@heddle/ports';
import { type GcPlan, neededBlobs, planGc } from '../job/gc.ts';
import type { JobState } from '../job/state.ts';
import { JOB_LIMITS } from '../limits.ts';
import { inParallel } from './in-parallel.ts';
import type { JobActors } from './job-actors.ts';
import type { JobIndex } from './job-index.ts';

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
  readonly index: JobIndex;
  readonly journal: Journal;
  readonly blobs: Blobs;
  readonly clock: Clock;
  readonly log: Log;
  readonly roots: readonly BlobDigest[];
  /** The kinds whose jobs may be forgotten. */
  readonly collects: (kind: string) => boolean;
  readonly retainedBytesMax: (kind: string) => number;
  readonly tenantBytesMax: (tenant: string) => number;
}

/**
 * Frees what `planGc` says. Garbage first: on a full disk that makes the room which forgetting a journal needs. Then
 * journals before the blobs that they name, so that a crash in between leaves garbage and never a job without its blobs.
 * Several processes may collect at once. Errors: `data_loss` naming the job whose journal cannot be read: what it keeps is
 * unknown, so nothing is freed.
 */
export async function collect(options: CollectOptions): Promise<GcReport> {
  const { journal, blobs, clock, dryRun = false } = options;
  const stats: BlobStat[] = [];
  for await (const stat of blobs.list()) stats.push(stat);
  const jobs = await allJobs(options);
  const nowMs = clock.now();
  const plan = planGc({
    nowMs,
    jobs: [...jobs.values()],
    blobs: stats,
    roots: options.roots,
    collects: options.collects,
    retainedBytesMax: options.retainedBytesMax,
    tenantBytesMax: options.tenantBytesMax,
    retainedJobsMax: JOB_LIMITS.retainedJobsMax,
    withinBudgets: options.withinBudgets ?? false,
    graceMs: JOB_LIMITS.blobGraceMs,
  });
  const before = await journal.bytes();
  const { forgotten, released } = dryRun
    ? { forgotten: plan.forget, released: plan.released }
    : await free(options, plan, jobs);
  const journalBytes = Math.max(0, before - (await journal.bytes()));
  const freed = [...plan.garbage, ...released];
  const freedBytes = freed.reduce((sum, { bytes }) => sum + bytes, 0);
  return {
    jobs: forgotten,
    blobs: { count: freed.length, bytes: freedBytes },
    journalBytes,
    freedBytes: freedBytes + journalBytes,
    keptBytes: plan.keptBytes + plan.freedBytes - freedBytes,
    dryRun,
  };
}

/** Every job of the journal, read after the blobs were listed. */
async function allJobs({
  actors,
  index,
  dryRun,
}: CollectOptions): Promise<ReadonlyMap<string, JobState>> {
  await index.refresh();
  const unreadable = index.unreadable();
  if (unreadable !== undefined) throw unreadable.error;
  const jobs = new Map<string, JobState>();
  await inParallel(JOB_LIMITS.readsAtOnce, index.ids(), async (id) => {
    const state = await actors.peek(id);
    if (state.status !== 'absent') jobs.set(id, state);
    else if (state.sequence > 0 && !dryRun) await actors.remove(id); // its collector died
  });
  return jobs;
}

async function free(
  { actors, blobs, clock, log }: CollectOptions,
  plan: GcPlan,
  jobs: ReadonlyMap<string, JobState>,
): Promise<{
  readonly forgotten: GcPlan['forget'];
  readonly released: GcPlan['released'];
}> {
  const unlessModifiedSinceMs = clock.now() - JOB_LIMITS.blobGraceMs;
  for (const { digest } of plan.garbage) await blobs.remove(digest, { unlessModifiedSinceMs });
  const forgotten: GcPlan['forget'][number][] = [];
  /** Of jobs that somebody touched, pinned or resumed after they were read. */
  const wanted = new Set<BlobDigest>();
  for (const job of plan.forget) {
    const state = jobs.get(job.id);
    if (state === undefined) continue;
    if (await forget(actors, state, clock.now())) forgotten.push(job);
    else {
      log.info('a job was used while it was to be forgotten', { job: job.id });
      for (const digest of neededBlobs(state)) wanted.add(digest);
    }
  }
  const released = plan.released.filter(({ digest }) => !wanted.has(digest));
  for (const { digest, unlessModifiedSinceMs } of released) {
    await blobs.remove(digest, { unlessModifiedSinceMs });
  }
  return { forgotten, released };
}

/**
 * Ends a journal through its fence, then removes it: whoever appends in between was first and keeps the job, and whoever
 * comes later finds it ended. On a full journal nothing can be appended, by nobody: then it is removed as it stands.
 */
async function forget(actors: JobActors, state: JobState, nowMs: number): Promise<boolean> {
  const { id, sequence } = state;
  try {
    const told = await actors.tell(id, { type: 'forget', sequence, nowMs });
    if (told.reply.type !== 'done') return false;
    await actors.remove(id);
  } catch (thrown) {
    if (OperationError.from(thrown).code !== 'resource_exhausted') throw thrown;
    await actors.removeAsIs(state);
  }
  return true;
}
