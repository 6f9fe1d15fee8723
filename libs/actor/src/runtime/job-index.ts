import { AssertionError, OperationError } from '@heddle/core';
import type { Clock, Journal, Log } from '@heddle/ports';
import { JOB_STREAMS } from '../job/behaviour.ts';
import { chargedBytes, openTasks } from '../job/charges.ts';
import { effectsOf, type PushTask } from '../job/effects.ts';
import { type JobState, ownerOf } from '../job/state.ts';
import { JOB_LIMITS } from '../limits.ts';
import { inParallel } from './in-parallel.ts';
import type { JobActors } from './job-actors.ts';
import { statusOf, type ViewStatus } from './job-view.ts';

/** What is kept of every job, so that all of them can be counted and listed without reading them again. */
export interface IndexedJob {
  readonly id: string;
  readonly sequence: number;
  readonly tenant: string;
  readonly kind: string;
  readonly status: ViewStatus;
  readonly createdMs: number;
  readonly updatedMs: number;
  readonly openTasks: number;
  readonly chargedBytes: number;
  /** What it asks of the queue; empty unless it is to move on. */
  readonly effects: readonly PushTask[];
}

/** What a tenant has. */
export interface Usage {
  readonly jobs: number;
  readonly tasks: number;
  readonly retainedBytes: number;
}

export interface JobIndexOptions {
  readonly actors: JobActors;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
}

const NOTHING: Usage = { jobs: 0, tasks: 0, retainedBytes: 0 };

/**
 * All jobs of the journal in brief, whoever runs them. One request says which changed since the last look, and only those
 * are read; so a look costs what happened, not what there is.
 */
export class JobIndex {
  private readonly options: JobIndexOptions;
  private readonly jobs = new Map<string, IndexedJob>();
  private readonly usages = new Map<string, Usage>();
  /** Ends of journals as of their last reading. */
  private readonly ends = new Map<string, number>();
  /** Journals that cannot be read, until they change: each is told once. */
  private readonly broken = new Map<string, OperationError>();
  private refreshedMs = Number.NEGATIVE_INFINITY;
  private running: Promise<void> | undefined;
  private next: Promise<void> | undefined;

  constructor(options: JobIndexOptions) {
    this.options = options;
  }

  /** As of a moment at most so long ago. Errors: the journal's; what could be read is in. */
  async refresh(ageMaxMs = 0): Promise<void> {
    if (this.options.clock.monotonic() - this.refreshedMs < ageMaxMs) return;
    if (this.running === undefined) return this.begin();
    // One that began before this call may have missed what its caller wants to see.
    this.next ??= this.running
      .catch(() => undefined)
      .then(() => {
        this.next = undefined;
        return this.begin();
      });
    return this.next;
  }

  /** Of a decision that was made here. */
  observe(state: JobState): void {
    const known = this.jobs.get(state.id);
    if (known !== undefined && known.sequence >= state.sequence) return;
    if (state.status === 'absent') this.forget(state.id);
    else this.set(state.id, briefOf(state));
  }

  forget(id: string): void {
    this.set(id, undefined);
    this.ends.delete(id);
    this.broken.delete(id);
  }

  /** Of every journal, also those that are about to be removed. */
  ids(): readonly string[] {
    return [...this.ends.keys()];
  }

  get(id: string): IndexedJob | undefined {
    return this.jobs.get(id);
  }

  all(): IterableIterator<IndexedJob> {
    return this.jobs.values();
  }

  /** In an order that every replica agrees on: by creation, then by id. */
  newestFirst(wanted: (job: IndexedJob) => boolean): readonly IndexedJob[] {
    return [...this.jobs.values()].filter(wanted).sort(byNewest);
  }

  usage(tenant: string): Usage {
    return this.usages.get(tenant) ?? NOTHING;
  }

  /** A journal that cannot be read, if there is one: what it names is unknown. */
  unreadable(): { readonly id: string; readonly error: OperationError } | undefined {
    const [first] = this.broken;
    return first && { id: first[0], error: first[1] };
  }

  get unreadableCount(): number {
    return this.broken.size;
  }

  private begin(): Promise<void> {
    const startedMs = this.options.clock.monotonic();
    this.running = this.look()
      .then(() => {
        this.refreshedMs = startedMs;
      })
      .finally(() => {
        this.running = undefined;
      });
    return this.running;
  }

  private async look(): Promise<void> {
    const { journal, actors } = this.options;
    const ends = await journal.ends(JOB_STREAMS);
    const changed: [string, number][] = [];
    const present = new Set<string>();
    for (const [stream, end] of ends) {
      const id = stream.slice(JOB_STREAMS.length);
      present.add(id);
      if (this.ends.get(id) !== end) changed.push([id, end]);
    }
    for (const id of this.ends.keys()) {
      if (present.has(id)) continue;
      this.forget(id);
      actors.forget(id); // collected by another process: what is remembered of it is no more
    }
    let failure: unknown;
    await inParallel(JOB_LIMITS.readsAtOnce, changed, async ([id, end]) => {
      try {
        await this.read(id);
        this.ends.set(id, end);
      } catch (error) {
        failure ??= error;
      }
    });
    if (failure !== undefined) throw failure;
  }

  private async read(id: string): Promise<void> {
    const { actors, log } = this.options;
    try {
      // One that was unfinished when it was last seen will be asked for again.
      const live = (this.jobs.get(id)?.effects.length ?? 0) > 0;
      const state = await (live ? actors.look(id) : actors.peek(id));
      this.broken.delete(id);
      this.set(id, state.status === 'absent' ? undefined : briefOf(state));
    } catch (thrown) {
      const error = OperationError.from(thrown);
      const damaged = error.code === 'data_loss' || thrown instanceof AssertionError;
      if (!damaged && error.code !== 'failed_precondition') throw thrown;
      this.set(id, undefined);
      this.broken.set(id, error);
      log.error('a job is left out: its journal cannot be read', { job: id, error });
    }
  }

  private set(id: string, job: IndexedJob | undefined): void {
    const before = this.jobs.get(id);
    if (before !== undefined) this.charge(before, -1);
    if (job === undefined) {
      this.jobs.delete(id);
      return;
    }
    this.charge(job, 1);
    this.jobs.set(id, job);
  }

  private charge(job: IndexedJob, sign: 1 | -1): void {
    const { jobs, tasks, retainedBytes } = this.usage(job.tenant);
    const usage = {
      jobs: jobs + sign * (isUnfinished(job) ? 1 : 0),
      tasks: tasks + sign * job.openTasks,
      retainedBytes: retainedBytes + sign * job.chargedBytes,
    };
    const nothing = usage.jobs === 0 && usage.tasks === 0 && usage.retainedBytes === 0;
    if (nothing) this.usages.delete(job.tenant);
    else this.usages.set(job.tenant, usage);
  }
}

export function isUnfinished({ status }: Pick<IndexedJob, 'status'>): boolean {
  return status === 'queued' || status === 'running' || status === 'paused';
}

export function byNewest(
  a: Pick<IndexedJob, 'createdMs' | 'id'>,
  b: Pick<IndexedJob, 'createdMs' | 'id'>,
): number {
  return b.createdMs - a.createdMs || (a.id < b.id ? -1 : 1);
}

function briefOf(state: JobState): IndexedJob {
  const { id, sequence, kind, createdMs, updatedMs } = state;
  return {
    id,
    sequence,
    kind,
    createdMs,
    updatedMs,
    tenant: ownerOf(state),
    status: statusOf(state),
    openTasks: openTasks(state),
    chargedBytes: chargedBytes(state),
    effects: effectsOf(state),
  };
}
