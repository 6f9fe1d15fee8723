import { OperationError } from '@heddle/core';
import type { WorkQueue } from '@heddle/ports';
import { queueOf } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import { Attempt, type AttemptPorts } from './attempt.ts';
import type { JobKind, KindLimits } from './job-kind.ts';
import type { Lease } from './lease.ts';

export interface WorkersOptions {
  readonly ports: AttemptPorts;
  readonly queue: WorkQueue;
  /** Unique to this process and start: the first half of every claim. */
  readonly worker: string;
}

export interface StopReport {
  /** Tasks that ended or were handed back in time. */
  readonly handedBack: number;
  /** Tasks that did not hear: their messages come again elsewhere, and what they still compute cannot be committed. */
  readonly abandoned: number;
}

/** Pulls tasks of the registered kinds, one of a kind at a time, while fewer of it are worked on than its concurrency. */
export class Workers {
  private readonly options: WorkersOptions;
  private readonly pulling = new AbortController();
  private readonly leases = new Set<Lease>();
  private readonly loops: Promise<void>[] = [];
  private attempts = 0;

  constructor(options: WorkersOptions) {
    this.options = options;
  }

  start(kind: JobKind, limits: KindLimits): void {
    const { ports, worker } = this.options;
    ports.meters.gauge('jobs_worker_slots', kind.kind, limits.concurrency);
    ports.meters.gauge('jobs_worker_slots_busy', kind.kind, 0);
    if (limits.concurrency === 0) {
      this.loops.push(this.prepare(kind, limits));
      return;
    }
    ports.log.info('takes tasks', { kind: kind.kind, worker }); // journals name attempts by their worker
    this.loops.push(this.loop(kind, limits));
  }

  /** No new tasks; running ones save and are handed back, for at most `graceMs`. */
  async stop(graceMs: number): Promise<StopReport> {
    this.pulling.abort('stopping');
    const running = this.leases.size;
    for (const lease of this.leases) lease.stop('drain');
    const patience = new AbortController();
    const late = this.options.ports.clock.sleep(graceMs, patience.signal);
    await Promise.race([Promise.all(this.loops), late]);
    patience.abort('stopped');
    return { handedBack: running - this.leases.size, abandoned: this.leases.size };
  }

  /** Of a process that only accepts jobs: whoever starts workers when the queue grows must find the queue. */
  private async prepare({ kind }: JobKind, { ackWaitMs }: KindLimits): Promise<void> {
    const { signal } = this.pulling;
    let stands = false;
    while (!stands && !signal.aborted) {
      await this.orPause(kind, async () => {
        await this.options.queue.prepare(queueOf(kind), { ackWaitMs });
        stands = true;
      });
    }
  }

  private async loop(kind: JobKind, limits: KindLimits): Promise<void> {
    const { queue } = this.options;
    const { signal } = this.pulling;
    const worked = new Set<Promise<void>>();
    const busy = (): void =>
      this.options.ports.meters.gauge('jobs_worker_slots_busy', kind.kind, worked.size);
    while (!signal.aborted) {
      if (worked.size >= limits.concurrency) await Promise.race(worked);
      else {
        await this.orPause(kind.kind, async () => {
          const delivery = await queue.pull(queueOf(kind.kind), {
            ackWaitMs: limits.ackWaitMs,
            attemptsMax: JOB_LIMITS.deliveriesMax,
            waitMs: JOB_LIMITS.pullWaitMs,
            signal,
          });
          if (delivery === undefined) return;
          // Arrived while stopping: not begun, so handed back as it came.
          if (signal.aborted) return delivery.nak(0);
          const work = this.orPause(kind.kind, () => this.attempt(kind, limits, delivery));
          const tracked = work.finally(() => {
            worked.delete(tracked);
            busy();
          });
          worked.add(tracked);
          busy();
        });
      }
    }
    await Promise.all(worked);
  }

  /** What cannot use the queue is told, and tried again after a while. */
  private async orPause(kind: string, body: () => Promise<void>): Promise<void> {
    const { ports } = this.options;
    const { signal } = this.pulling;
    try {
      await body();
    } catch (error) {
      if (signal.aborted) return;
      const { code } = OperationError.from(error);
      ports.log.warn('the work queue could not be used', { kind, code, error });
      await ports.clock.sleep(JOB_LIMITS.journalDownDelayMs, signal);
    }
  }

  private async attempt(
    kind: JobKind,
    limits: KindLimits,
    delivery: NonNullable<Awaited<ReturnType<WorkQueue['pull']>>>,
  ): Promise<void> {
    this.attempts += 1;
    const claim = `${this.options.worker}.${this.attempts}`;
    let held: Lease | undefined;
    const onLease = (lease: Lease | undefined): void => {
      if (held !== undefined) this.leases.delete(held);
      held = lease;
      if (lease === undefined) return;
      this.leases.add(lease);
      if (this.pulling.signal.aborted) lease.stop('drain');
    };
    await new Attempt({
      ports: this.options.ports,
      kind,
      limits,
      delivery,
      claim,
      onLease,
      stopping: this.pulling.signal,
    }).handle();
  }
}
