import { canonicalJson, type Json, OperationError, present } from '@heddle/core';
import {
  type Callers,
  type Clock,
  type Delivery,
  type Events,
  type Log,
  NO_TRACING,
  type Span,
  type Tracing,
} from '@heddle/ports';
import type { KeptOutput, Provenance } from '../job/events.ts';
import type { JobMessage } from '../job/messages.ts';
import { type JobState, ownerOf } from '../job/state.ts';
import { decodeTask, type TaskMessage } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { JobActors } from './job-actors.ts';
import type { JobKind, KindLimits, TaskOutput } from './job-kind.ts';
import { attemptSpan } from './job-spans.ts';
import { Lease } from './lease.ts';
import type { JobMeters } from './metrics.ts';
import { progressSubject } from './progress-book.ts';
import { type Reduction, runTask } from './run-task.ts';
import type { SizedBlobs } from './sized-blobs.ts';
import { maySave, type StopReason } from './stop-reason.ts';
import { AttemptContext, jobError } from './task-context.ts';

export interface AttemptPorts {
  readonly actors: JobActors;
  readonly blobs: SizedBlobs;
  readonly clock: Clock;
  readonly events: Events;
  readonly log: Log;
  readonly meters: JobMeters;
  readonly versions: Readonly<Record<string, Json>>;
  readonly onStuck: (job: string, why: string) => void;
  /** Tasks run in the name of their job's owner. */
  readonly callers: Callers;
  readonly tracing: Tracing;
}

export interface AttemptOptions {
  readonly ports: AttemptPorts;
  readonly kind: JobKind;
  readonly limits: KindLimits;
  readonly delivery: Delivery;
  /** Unique among all attempts of all workers. */
  readonly claim: string;
  readonly onLease: (lease: Lease | undefined) => void;
  /** The worker takes nothing more: what has not begun is handed back. */
  readonly stopping: AbortSignal;
}

type Outcome =
  | { readonly type: 'output'; readonly output: KeptOutput }
  | { readonly type: 'stopped'; readonly reason: StopReason }
  | { readonly type: 'error'; readonly error: unknown };

/** What became of one queue message, from its arrival to its acknowledgement. */
export class Attempt {
  private readonly options: AttemptOptions;
  private readonly log: Log;
  /** From when the task is granted. */
  private span: Span = NO_TRACING.begin({ name: '' });
  private failure: OperationError | undefined;

  constructor(options: AttemptOptions) {
    this.options = options;
    this.log = options.ports.log.child({ kind: options.kind.kind, claim: options.claim });
  }

  async handle(): Promise<void> {
    const { delivery, ports, kind } = this.options;
    if (delivery.attempt > 1) ports.meters.count('jobs_redeliveries_total', kind.kind);
    let message: TaskMessage;
    try {
      message = decodeTask(delivery.bytes);
    } catch (error) {
      this.log.error('a queue message names no task', { key: delivery.key, error });
      await delivery.terminate(OperationError.from(error).message);
      return ports.actors.lanes.left(delivery.queue, delivery.key);
    }
    try {
      await this.start(message);
    } catch (error) {
      // The journal or the queue is away, or full. Nothing is lost: the message comes again.
      this.log.warn('an attempt could not be committed', { job: message.job, error });
      await delivery.nak(JOB_LIMITS.journalDownDelayMs).catch(() => undefined);
    }
  }

  private async start(message: TaskMessage): Promise<void> {
    const { ports, delivery, claim, stopping } = this.options;
    await this.leaveTime(message);
    if (stopping.aborted) return delivery.nak(0);
    const nowMs = ports.clock.now();
    const { state, reply } = await ports.actors.tell(message.job, {
      type: 'start',
      task: message.task,
      sequence: message.sequence,
      claim,
      nowMs,
    });
    switch (reply.type) {
      case 'later':
        return delivery.nak(reply.delayMs);
      case 'granted':
        return this.traced(message, state, reply.attempt);
      default:
        this.count('stale');
        return this.acknowledge();
    }
  }

  /** Waits for who holds the task, if it was taken over before: two slow workers must not take it from each other for ever. */
  private async leaveTime({ job, task }: TaskMessage): Promise<void> {
    const { ports, delivery, limits, stopping } = this.options;
    const { clock } = ports;
    const { ackWaitMs } = limits;
    const again = delivery.attempt - 2;
    if (again < 1 || ackWaitMs >= JOB_LIMITS.slowHandsMs) return;
    const holder = await this.holderOf(job, task);
    if (holder === undefined) return;
    const untilMs = clock.monotonic() + Math.min(ackWaitMs * 2 ** again, JOB_LIMITS.slowHandsMs);
    while (clock.monotonic() < untilMs && (await this.holderOf(job, task)) === holder) {
      await clock.sleep(ackWaitMs / 3, stopping);
      if (stopping.aborted) return;
      await delivery.heartbeat();
    }
  }

  private async holderOf(job: string, task: number): Promise<string | undefined> {
    const held = (await this.options.ports.actors.look(job)).tasks[task];
    return held?.phase === 'running' ? held.claim : undefined;
  }

  private async traced(message: TaskMessage, state: JobState, attempt: number): Promise<void> {
    const { ports, delivery } = this.options;
    const { task } = message;
    const nowMs = ports.clock.now();
    this.span = attemptSpan(ports.tracing, { state, task, attempt, delivery, nowMs });
    try {
      await this.span.within(() => this.work(message, state, attempt));
    } catch (thrown) {
      this.failure = OperationError.from(thrown);
      throw thrown;
    } finally {
      this.span.end(this.failure);
    }
  }

  private async work(message: TaskMessage, state: JobState, attempt: number): Promise<void> {
    const { ports, limits, delivery, claim, onLease } = this.options;
    const { actors, clock } = ports;
    const { ackWaitMs } = limits;
    const { job, task } = message;
    const onStuck = (reason: StopReason): void => {
      const why = `task ${task} was told to stop (${reason}) and computes on`;
      this.log.error(why, { job });
      ports.onStuck(job, why);
    };
    const lease = new Lease({ actors, clock, delivery, message, claim, ackWaitMs, onStuck });
    onLease(lease);
    const kept = lease.keep();
    try {
      const outcome = await this.run(message, state, attempt, lease);
      await this.conclude(message, outcome, lease);
    } finally {
      lease.close();
      onLease(undefined);
      await kept;
    }
  }

  private async run(
    message: TaskMessage,
    state: JobState,
    attempt: number,
    lease: Lease,
  ): Promise<Outcome> {
    const { ports, kind } = this.options;
    const context = this.context(message, state, attempt, lease);
    try {
      const reduction: Reduction = { state, task: message.task };
      const owner = { tenant: ownerOf(state), role: 'run' } as const;
      const output = await ports.callers.run(owner, () => runTask(kind, reduction, context));
      return { type: 'output', output: await this.keep(output, ports.blobs) };
    } catch (error) {
      if (lease.reason !== undefined) return { type: 'stopped', reason: lease.reason };
      return { type: 'error', error };
    }
  }

  private context(
    { job, task }: TaskMessage,
    state: JobState,
    attempt: number,
    lease: Lease,
  ): AttemptContext {
    const { ports, claim } = this.options;
    const { actors, blobs, clock, events } = ports;
    const tell = async (message: JobMessage): Promise<JobState> => {
      const { state, reply } = await actors.tell(job, message);
      if (reply.type !== 'refuse') return state;
      if (reply.error.code === 'aborted') lease.stop('lost');
      throw new OperationError(reply.error);
    };
    return new AttemptContext({
      job,
      task,
      claim,
      attempt,
      lease,
      checkpoint: present(state.tasks[task], 'task').checkpoint,
      blobs,
      clock,
      log: this.log.child({ job, task }),
      commit: async (kept, cursor) => {
        await tell({ type: 'checkpoint', task, claim, cursor, ...kept, nowMs: clock.now() });
      },
      lose: async ({ blob }, reason) => {
        const nowMs = clock.now();
        const after = await tell({ type: 'lose-checkpoint', task, claim, blob, reason, nowMs });
        return present(after.tasks[task], 'task').checkpoint;
      },
      publish: (progress) => events.publish(progressSubject(job), { job, task, progress }),
      tracing: ports.tracing,
    });
  }

  private async keep(output: TaskOutput, blobs: SizedBlobs): Promise<KeptOutput> {
    const { references = [], provenance = {} } = output;
    const { digest, bytes } =
      output.blob === undefined
        ? await blobs.put(present(output.bytes, 'bytes of an output'))
        : present(await blobs.stat(output.blob), `blob ${output.blob} of an output`);
    const kept = { blob: digest, bytes, references, provenance };
    if (references.length === 0) return kept;
    try {
      return { ...kept, retained: bytes + (await blobs.bytesOf(references)) };
    } catch {
      return kept; // what its owner is charged with is not worth the work
    }
  }

  private async conclude(message: TaskMessage, outcome: Outcome, lease: Lease): Promise<void> {
    switch (outcome.type) {
      case 'output':
        return this.finish(message, outcome.output, lease);
      case 'stopped':
        return this.handBack(message, outcome.reason);
      case 'error':
        return this.fail(message, outcome.error);
    }
  }

  private async finish(
    { job, task }: TaskMessage,
    output: KeptOutput,
    lease: Lease,
  ): Promise<void> {
    const { ports, claim } = this.options;
    const { actors, clock, versions } = ports;
    const said = { ...output.provenance, versions: { ...versions, ...own(output) } };
    // As the journal will give it back: a reduction must not see in what order we wrote what another process reads sorted.
    const provenance = JSON.parse(canonicalJson(said)) as Provenance;
    const message = { type: 'done', task, claim, ...output, provenance } as const;
    let refused: OperationError | undefined;
    try {
      const { reply } = await actors.tell(job, { ...message, nowMs: clock.now() });
      if (reply.type === 'refuse') refused = new OperationError(reply.error);
    } catch (thrown) {
      const error = OperationError.from(thrown);
      if (error.retryable) throw error;
      return this.fail({ job, task, sequence: 0 }, error); // too large to record, for one
    }
    if (refused === undefined) {
      this.count('done');
      return this.acknowledge();
    }
    this.count('lost');
    this.log.warn('finished, but the task was no longer ours', { job, task, error: refused });
    // Acknowledged only if the job is over: otherwise the message may be in somebody else's hands.
    if (lease.reason === 'ended') await this.acknowledge();
  }

  private async handBack({ job, task }: TaskMessage, reason: StopReason): Promise<void> {
    const { ports, claim } = this.options;
    if (maySave(reason)) {
      const nowMs = ports.clock.now();
      await ports.actors.tell(job, { type: 'release', task, claim, nowMs });
      this.count('released');
      return this.acknowledge();
    }
    this.count('lost');
    if (reason === 'ended') await this.acknowledge();
  }

  private async fail({ job, task }: TaskMessage, thrown: unknown): Promise<void> {
    const { ports, claim } = this.options;
    const error = jobError(thrown);
    this.failure = OperationError.from(thrown);
    this.log.warn('an attempt failed', { job, task, error: thrown });
    const nowMs = ports.clock.now();
    await ports.actors.tell(job, { type: 'fail', task, claim, error, nowMs });
    this.count('failed');
    await this.acknowledge();
  }

  /** The message leaves the queue, and what its owner has waiting moves up. */
  private async acknowledge(): Promise<void> {
    const { delivery, ports } = this.options;
    await delivery.ack();
    await ports.actors.lanes.left(delivery.queue, delivery.key);
  }

  private count(outcome: 'done' | 'failed' | 'released' | 'lost' | 'stale'): void {
    this.span.set({ 'heddle.task.outcome': outcome });
    this.options.ports.meters.count('jobs_attempts_total', this.options.kind.kind, { outcome });
  }
}

function own({ provenance }: Pick<KeptOutput, 'provenance'>): { [name: string]: Json } {
  const { versions } = provenance;
  const named = typeof versions === 'object' && versions !== null && !Array.isArray(versions);
  return named ? { ...(versions as { [name: string]: Json }) } : {};
}
