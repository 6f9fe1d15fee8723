import { resourceExhausted } from '@heddle/core';
import { JOB_LIMITS } from '../limits.ts';
import type { JobIndex, Usage } from './job-index.ts';
import type { JobMeters } from './metrics.ts';

/** What one tenant may have at a time, in all replicas together. */
export interface TenantQuotas {
  /** Jobs that have not ended. */
  readonly jobsMax: number;
  /** Tasks of these that are not done. */
  readonly tasksMax: number;
  /** Bytes of results and checkpoints with what they name; past it, the oldest results are freed and new jobs refused. */
  readonly retainedBytesMax: number;
}

export interface QuotasOptions {
  readonly index: JobIndex;
  readonly meters: JobMeters;
  readonly of: (tenant: string) => TenantQuotas;
}

/** A job about to be accepted. */
export interface Wanted {
  readonly tenant: string;
  readonly kind: string;
  readonly tasks: number;
}

/**
 * Compares what a tenant has with what it may have. Exact within a process: what is being accepted counts already. Across
 * replicas the counts are at most a second old, so a quota can be passed by what the other replicas accept in a second.
 */
export class Quotas {
  private readonly options: QuotasOptions;
  private readonly underWay = new Set<Wanted>();

  constructor(options: QuotasOptions) {
    this.options = options;
  }

  /** Reserves; whoever was given the reservation ends it when the job is in the journal, or is not. Errors: `resource_exhausted`. */
  async reserve(wanted: Wanted): Promise<() => void> {
    const { index, of, meters } = this.options;
    const { tenant, kind, tasks } = wanted;
    await index.refresh(JOB_LIMITS.quotaFreshMs);
    const { jobsMax, tasksMax, retainedBytesMax } = of(tenant);
    const usage = this.usage(tenant);
    const { quotaRetryMs, quotaFreedMs } = JOB_LIMITS;
    const refuse = (quota: string, limit: number, has: number, what: string, retryMs?: number) => {
      meters.count('jobs_refused_total', kind, { reason: 'quota' });
      const whose = tenant === '' ? '' : ` of ${tenant}`;
      const todo = retryMs === quotaRetryMs ? ': wait for a job to end, or cancel one' : '';
      const used = `the quota${whose} is ${limit} ${what}; in use: ${has}${todo}`;
      return resourceExhausted(used, {
        ...(retryMs === undefined ? { retryable: false } : { retryAfterMs: retryMs }),
        details: { quota, limit, usage: has, tenant },
      });
    };
    if (usage.jobs >= jobsMax) {
      throw refuse('jobs', jobsMax, usage.jobs, 'jobs at a time', quotaRetryMs);
    }
    if (usage.tasks + tasks > tasksMax) {
      const what = `tasks at a time, and this job has ${tasks}`;
      const ever = tasks <= tasksMax ? quotaRetryMs : undefined;
      throw refuse('tasks', tasksMax, usage.tasks, what, ever);
    }
    if (usage.retainedBytes >= retainedBytesMax) {
      const what = 'bytes of results, of which the oldest are freed every hour but for pinned ones';
      throw refuse('retained_bytes', retainedBytesMax, usage.retainedBytes, what, quotaFreedMs);
    }
    this.underWay.add(wanted);
    return () => this.underWay.delete(wanted);
  }

  private usage(tenant: string): Usage {
    let { jobs, tasks, retainedBytes } = this.options.index.usage(tenant);
    for (const wanted of this.underWay) {
      if (wanted.tenant !== tenant) continue;
      jobs += 1;
      tasks += wanted.tasks;
    }
    return { jobs, tasks, retainedBytes };
  }
}
