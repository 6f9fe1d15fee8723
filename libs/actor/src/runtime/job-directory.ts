import { invalidArgument, OperationError } from '@heddle/core';
import type { JobState } from '../job/state.ts';
import { JOB_LIMITS } from '../limits.ts';
import { inParallel } from './in-parallel.ts';
import type { JobActors } from './job-actors.ts';
import { byNewest, type IndexedJob, type JobIndex } from './job-index.ts';
import type { ViewStatus } from './job-view.ts';

export interface ListOptions {
  readonly kind?: string;
  readonly kinds?: readonly string[];
  /** Only this tenant's; absent or empty: all that the caller may see. */
  readonly tenant?: string;
  readonly statuses?: readonly ViewStatus[];
  readonly limit?: number;
  /** A job's id: only those created before it. */
  readonly before?: string;
}

export interface JobDirectoryOptions {
  readonly actors: JobActors;
  readonly index: JobIndex;
  /** Whether who asks now may see jobs of this tenant. */
  readonly maySee: (tenant: string) => boolean;
}

/** Finds jobs among all: by the index, and reading no more than it gives. */
export class JobDirectory {
  private readonly options: JobDirectoryOptions;

  constructor(options: JobDirectoryOptions) {
    this.options = options;
  }

  /** The id that begins so; undefined for none. Errors: `invalid_argument` for several. */
  async only(beginning: string): Promise<string | undefined> {
    const { index, maySee } = this.options;
    if (beginning.length < JOB_LIMITS.beginningCharsMin) return undefined;
    await index.refresh();
    const matching = index.newestFirst(
      ({ id, tenant }) => id.startsWith(beginning) && maySee(tenant),
    );
    if (matching.length <= 1) return matching[0]?.id;
    throw invalidArgument(`${matching.length} jobs begin with ${beginning}: say more of the id`, {
      field: 'id',
    });
  }

  /** Newest first, and whether there are more. Errors: `permission_denied`, `invalid_argument`. */
  async page(
    options: ListOptions,
  ): Promise<{ readonly states: readonly JobState[]; readonly more: boolean }> {
    const { index, maySee } = this.options;
    const { tenant } = options;
    if (tenant && !maySee(tenant)) {
      const message = `only an admin sees the jobs of ${tenant}`;
      throw new OperationError({ code: 'permission_denied', message, field: 'tenant' });
    }
    await index.refresh();
    const wanted = this.filter(options);
    const found = index.newestFirst(wanted);
    const page = found.slice(0, Math.min(options.limit ?? Infinity, JOB_LIMITS.listMax));
    const states = new Map<string, JobState>();
    await inParallel(JOB_LIMITS.readsAtOnce, page, async (job) => {
      const state = await this.current(job);
      if (state.status !== 'absent') states.set(job.id, state); // else collected meanwhile
    });
    return {
      states: page.flatMap(({ id }) => states.get(id) ?? []),
      more: found.length > page.length,
    };
  }

  private filter(options: ListOptions): (job: IndexedJob) => boolean {
    const { index, maySee } = this.options;
    const { before, tenant, statuses } = options;
    const from = before === undefined ? undefined : index.get(before);
    if (before !== undefined && (from === undefined || !maySee(from.tenant))) {
      throw invalidArgument(`no job ${before}: begin from the first page`, { field: 'after' });
    }
    const kinds = options.kinds ?? (options.kind === undefined ? [] : [options.kind]);
    return (job) =>
      maySee(job.tenant) &&
      (!tenant || job.tenant === tenant) &&
      (kinds.length === 0 || kinds.includes(job.kind)) &&
      (statuses === undefined || statuses.includes(job.status)) &&
      (from === undefined || byNewest(from, job) < 0);
  }

  /** The job as the index has it; read again only if it is not in memory as it was then. */
  private async current({ id, sequence }: IndexedJob): Promise<JobState> {
    const { actors } = this.options;
    const seen = actors.seen(id);
    return seen?.sequence === sequence ? seen : actors.look(id);
  }
}
