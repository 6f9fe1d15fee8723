import type { BlobDigest, BlobStat } from '@heddle/ports';
import { checkpointsOf } from './effects.ts';
import { isSettled, type JobState, ownerOf } from './state.ts';

export interface GcInput {
  readonly nowMs: number;
  readonly jobs: readonly JobState[];
  /** Listed before the jobs were read, so that what was committed in between is seen. */
  readonly blobs: readonly BlobStat[];
  /** Blobs that something other than a job keeps. */
  readonly roots: readonly BlobDigest[];
  /** Only journals of these kinds are forgotten: a budget is known to whoever runs the kind. */
  readonly collects: (kind: string) => boolean;
  /** Bytes of settled, unpinned jobs that stay, by kind and by owner. */
  readonly retainedBytesMax: (kind: string) => number;
  readonly tenantBytesMax: (tenant: string) => number;
  /** Settled jobs whose journal stays, pinned ones not counted. */
  readonly retainedJobsMax: number;
  /** Only what is past the budgets; otherwise every settled job that is not pinned. */
  readonly withinBudgets: boolean;
  readonly graceMs: number;
}

export interface ForgottenJob {
  readonly id: string;
  readonly kind: string;
  /** Bytes of the blobs that it alone or among others kept. */
  readonly bytes: number;
  readonly reason: 'asked' | 'budget' | 'count' | 'quota';
}

export interface GcPlan {
  readonly forget: readonly ForgottenJob[];
  /** Blobs that no job names, not even one to be forgotten. */
  readonly garbage: readonly BlobStat[];
  /** Blobs that only jobs to be forgotten name, unless somebody put them again since those jobs ended. */
  readonly released: readonly (BlobStat & { readonly unlessModifiedSinceMs: number })[];
  readonly freedBytes: number;
  readonly keptBytes: number;
}

/**
 * Decides what to free; never frees. Kept are the blobs that an unfinished, a pinned or a retained job needs, those
 * younger than the grace (about to be committed), and the roots. Retained are, within budgets, settled jobs, newest
 * first, to their kind's; otherwise none.
 */
export function planGc(input: GcInput): GcPlan {
  const sizes = new Map(input.blobs.map(({ digest, bytes }) => [digest, bytes]));
  const forget = forgotten(input, sizes);
  const gone = new Set(forget.map((job) => job.id));
  const needed = new Set(input.roots);
  /** When the last job to be forgotten that names a blob ended: nothing older of it is in use. */
  const endedMs = new Map<BlobDigest, number>();
  for (const job of input.jobs) {
    for (const blob of neededBlobs(job)) {
      if (!gone.has(job.id)) needed.add(blob);
      else endedMs.set(blob, Math.max(endedMs.get(blob) ?? 0, job.finishedMs ?? 0));
    }
  }
  const free = input.blobs.filter(({ digest }) => !needed.has(digest));
  const youngMs = input.nowMs - input.graceMs;
  const garbage = free.filter((stat) => !endedMs.has(stat.digest) && stat.modifiedMs <= youngMs);
  const released = free.flatMap((stat) => {
    const ended = endedMs.get(stat.digest);
    if (ended === undefined) return [];
    const unlessModifiedSinceMs = Math.max(ended, youngMs);
    return stat.modifiedMs > unlessModifiedSinceMs ? [] : [{ ...stat, unlessModifiedSinceMs }];
  });
  const freedBytes = total(garbage) + total(released);
  return { forget, garbage, released, freedBytes, keptBytes: total(input.blobs) - freedBytes };
}

/** What a job may still read, or somebody may read of it. */
export function neededBlobs(state: JobState): readonly BlobDigest[] {
  if (state.status === 'completed') {
    return state.result === undefined ? [] : [state.result.blob, ...state.result.references];
  }
  if (state.status === 'cancelled') return [];
  if (state.status === 'failed' && state.error?.retryable !== true) return [];
  const ofTasks = state.tasks.flatMap(({ references, checkpoint, earlier, output }) => [
    ...references,
    ...(checkpoint?.references ?? []),
    ...(earlier?.references ?? []),
    ...(output === undefined ? [] : [output.blob, ...output.references]),
  ]);
  return [...checkpointsOf(state), ...ofTasks];
}

function forgotten(
  input: GcInput,
  sizes: ReadonlyMap<BlobDigest, number>,
): readonly ForgottenJob[] {
  const settled = input.jobs
    .filter((job) => isSettled(job.status) && !job.pinned && input.collects(job.kind))
    .sort((a, b) => b.updatedMs - a.updatedMs || (a.id < b.id ? -1 : 1));
  const retained = new Map<string, number>();
  const charged = new Map<string, number>();
  const out: ForgottenJob[] = [];
  for (const [index, job] of settled.entries()) {
    const { id, kind } = job;
    const tenant = ownerOf(job);
    const bytes = sum(neededBlobs(job), sizes);
    const ofKind = (retained.get(kind) ?? 0) + bytes;
    const ofTenant = (charged.get(tenant) ?? 0) + bytes;
    const reason = pastBudget(input, { index, kind, tenant, ofKind, ofTenant });
    if (reason !== undefined) {
      out.push({ id, kind, bytes, reason });
      continue;
    }
    retained.set(kind, ofKind);
    charged.set(tenant, ofTenant);
  }
  return out;
}

function pastBudget(
  input: GcInput,
  job: { index: number; kind: string; tenant: string; ofKind: number; ofTenant: number },
): ForgottenJob['reason'] | undefined {
  if (!input.withinBudgets) return 'asked';
  if (job.ofKind > input.retainedBytesMax(job.kind)) return 'budget';
  if (job.ofTenant > input.tenantBytesMax(job.tenant)) return 'quota';
  return job.index >= input.retainedJobsMax ? 'count' : undefined;
}

function sum(blobs: readonly BlobDigest[], sizes: ReadonlyMap<BlobDigest, number>): number {
  let bytes = 0;
  for (const blob of new Set(blobs)) bytes += sizes.get(blob) ?? 0;
  return bytes;
}

function total(blobs: readonly BlobStat[]): number {
  return blobs.reduce((bytes, blob) => bytes + blob.bytes, 0);
}
