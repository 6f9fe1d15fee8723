import { OperationError } from '@heddle/core';
import type { Clock, Log, WorkQueue } from '@heddle/ports';
import type { PushTask } from '../job/effects.ts';
import { queueOf } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import { type IndexedJob, isUnfinished, type JobIndex } from './job-index.ts';
import type { Lanes } from './lanes.ts';
import type { JobMeters } from './metrics.ts';

export interface ReconcilerOptions {
  readonly index: JobIndex;
  readonly lanes: Lanes;
  readonly queue: WorkQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly meters: JobMeters;
  readonly kinds: () => readonly string[];
  /** Shortens each pause a little, so that replicas that started together do not all look at once. */
  readonly spread: (ms: number) => number;
}

/** Jobs of one tenant and kind, the oldest first. */
interface Lane {
  readonly tenant: string;
  readonly kind: string;
  readonly jobs: (readonly PushTask[])[];
}

/**
 * Issues the effects of every unfinished job again, at the start and from time to time: Journal and WorkQueue share no
 * transaction, so a crash between the two leaves a job that nobody works on until somebody looks. A pass reads the journals
 * that changed, and asks for each tenant and kind with work what is on the queue.
 */
export class Reconciler {
  private readonly options: ReconcilerOptions;

  constructor(options: ReconcilerOptions) {
    this.options = options;
  }

  /** One pass. Errors of single jobs are logged: the others go on. Errors: the journal's, when it says nothing at all. */
  async pass(): Promise<void> {
    const { index, lanes, kinds, log } = this.options;
    let failure: unknown;
    await index.refresh().catch((error: unknown) => {
      failure = error; // what could be read is helped all the same
    });
    const own = new Set(kinds());
    for (const lane of this.lanesOf(own)) {
      try {
        await lanes.reconcile(lane.tenant, lane.kind, lane.jobs, own.has(lane.kind));
      } catch (error) {
        log.error('jobs could not be reconciled', { kind: lane.kind, error });
      }
    }
    if (failure !== undefined) throw failure;
  }

  async repeat(signal: AbortSignal): Promise<void> {
    const { clock, log, spread } = this.options;
    while (!signal.aborted) {
      await clock.sleep(spread(JOB_LIMITS.reconcileEveryMs), signal);
      if (signal.aborted) return;
      try {
        await this.pass();
        await this.gauge();
      } catch (error) {
        const { code } = OperationError.from(error);
        log.error('the journal could not be read', { code, error });
      }
    }
  }

  /** What waits and what is worked on, by kind. */
  async gauge(): Promise<void> {
    const { queue, lanes, meters, index, kinds } = this.options;
    meters.level('jobs_journals_unreadable', index.unreadableCount);
    this.gaugeJobs();
    const dead = await queue.deadLetterCounts();
    for (const kind of kinds()) {
      const { waiting, working } = await queue.depth(queueOf(kind));
      meters.gauge('jobs_queue_messages', kind, waiting, { state: 'waiting' });
      meters.gauge('jobs_queue_messages', kind, working, { state: 'working' });
      meters.gauge('jobs_tasks_held', kind, lanes.waiting(kind));
      meters.gauge('jobs_dead_letters', kind, dead.get(queueOf(kind)) ?? 0);
    }
  }

  private gaugeJobs(): void {
    const { index, meters, clock, kinds } = this.options;
    const unfinished = Map.groupBy([...index.all()].filter(isUnfinished), ({ kind }) => kind);
    for (const kind of kinds()) {
      const open = { queued: 0, running: 0, paused: 0 };
      let oldestMs = clock.now();
      for (const job of unfinished.get(kind) ?? []) {
        open[job.status as keyof typeof open] += 1;
        if (job.status === 'queued') oldestMs = Math.min(oldestMs, job.updatedMs);
      }
      for (const [status, count] of Object.entries(open)) {
        meters.gauge('jobs_open', kind, count, { status });
      }
      meters.gauge('jobs_oldest_queued_seconds', kind, (clock.now() - oldestMs) / 1000);
    }
  }

  /** Of our kinds all that wait for something; of others those that nobody helped for long: their service may be down to none. */
  private lanesOf(own: ReadonlySet<string>): Iterable<Lane> {
    const { index, clock } = this.options;
    const quietMs = clock.now() - JOB_LIMITS.foreignAfterMs;
    const ours = ({ kind, effects, updatedMs }: IndexedJob): boolean =>
      effects.length > 0 && (own.has(kind) || updatedMs <= quietMs);
    const lanes = new Map<string, Lane>();
    for (const { tenant, kind, effects } of [...index.newestFirst(ours)].reverse()) {
      const name = `${kind} ${tenant}`;
      const lane = lanes.get(name) ?? { tenant, kind, jobs: [] };
      lanes.set(name, lane);
      lane.jobs.push(effects);
    }
    return lanes.values();
  }
}
