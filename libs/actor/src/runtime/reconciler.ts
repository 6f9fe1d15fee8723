import type { Clock, Log, WorkQueue } from '@heddle/ports';
import { queueOf } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { JobActors } from './job-actors.ts';
import type { JobMeters } from './metrics.ts';

export interface ReconcilerOptions {
  readonly actors: JobActors;
  readonly queue: WorkQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly meters: JobMeters;
  readonly kinds: () => readonly string[];
}

/**
 * Issues the effects of every unfinished job again, at the start and from time to time: Journal and WorkQueue share no
 * transaction, so a crash between the two leaves a job that nobody works on until somebody looks.
 */
export class Reconciler {
  private readonly options: ReconcilerOptions;
  /** Jobs that can never ask for anything again; a failed one can, when it is resumed. */
  private readonly over = new Set<string>();

  constructor(options: ReconcilerOptions) {
    this.options = options;
  }

  /** One pass over the journal. Errors of single jobs are logged: the others go on. */
  async pass(): Promise<void> {
    const { actors, log } = this.options;
    const present = new Set<string>();
    for await (const job of actors.ids()) {
      present.add(job);
      if (this.over.has(job)) continue;
      try {
        const { status } = await actors.reissue(job);
        if (status === 'completed' || status === 'cancelled') this.over.add(job);
      } catch (error) {
        log.error('a job could not be reconciled', { job, error });
      }
    }
    for (const job of this.over) if (!present.has(job)) this.over.delete(job);
  }

  async repeat(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.options;
    while (!signal.aborted) {
      await clock.sleep(JOB_LIMITS.reconcileEveryMs, signal);
      if (signal.aborted) return;
      try {
        await this.pass();
        await this.gauge();
      } catch (error) {
        log.error('the journal could not be read', { error });
      }
    }
  }

  /** What waits and what is worked on, by kind. */
  async gauge(): Promise<void> {
    const { queue, meters, kinds } = this.options;
    for (const kind of kinds()) {
      const { waiting, working } = await queue.depth(queueOf(kind));
      meters.gauge('jobs_queue_messages', kind, waiting, { state: 'waiting' });
      meters.gauge('jobs_queue_messages', kind, working, { state: 'working' });
    }
  }
}
