import type { Clock, Delivery } from '@heddle/ports';
import { holds, isSettled, type JobState } from '../job/state.ts';
import type { TaskMessage } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { JobActors } from './job-actors.ts';
import { type StopReason, stopped } from './stop-reason.ts';

export interface LeaseOptions {
  readonly actors: JobActors;
  readonly clock: Clock;
  readonly delivery: Delivery;
  readonly message: TaskMessage;
  readonly claim: string;
  readonly ackWaitMs: number;
  /** The task was told to stop long ago and computes on. */
  readonly onStuck: (reason: StopReason) => void;
}

/**
 * Keeps a message while its task runs, and tells the task when it must stop. It saves compute, nothing more: what makes
 * a result count is the journal's fence, so a lease that errs costs time and never a second result.
 */
export class Lease {
  private readonly options: LeaseOptions;
  private readonly aborter = new AbortController();
  private readonly closer = new AbortController();
  private readonly unsubscribe: () => void;
  private why: StopReason | undefined;
  private stuckMs = Number.POSITIVE_INFINITY;
  private looking: Promise<void> | undefined;
  private lookingMs = 0;

  constructor(options: LeaseOptions) {
    this.options = options;
    this.unsubscribe = options.actors.onChange(options.message.job, (state) => this.check(state));
  }

  get signal(): AbortSignal {
    return this.aborter.signal;
  }

  get reason(): StopReason | undefined {
    return this.why;
  }

  stop(reason: StopReason): void {
    if (this.why !== undefined) return;
    this.why = reason;
    this.stuckMs = this.options.clock.monotonic() + JOB_LIMITS.stuckAfterMs;
    this.aborter.abort(stopped(reason));
  }

  close(): void {
    this.unsubscribe();
    this.closer.abort('closed');
  }

  /** Beats a third of the ack wait and looks for a stop every second, until closed. */
  async keep(): Promise<void> {
    const { clock, ackWaitMs } = this.options;
    const beatMs = ackWaitMs / 3;
    let beatenMs = clock.monotonic();
    let triedMs = beatenMs;
    while (!this.closer.signal.aborted) {
      await clock.sleep(Math.min(beatMs, JOB_LIMITS.stopCheckMs), this.closer.signal);
      if (this.closer.signal.aborted) break;
      if (clock.monotonic() - triedMs >= beatMs) {
        triedMs = clock.monotonic();
        if (await this.beat()) beatenMs = triedMs;
      }
      // Cut off for a whole ack wait: the queue has given the task away by now, and nobody can tell us.
      if (clock.monotonic() - beatenMs > ackWaitMs) this.stop('lost');
      this.lookOnce();
      // Who hears nothing of the journal for longer than that can commit nothing: the queue may give the task away.
      const unheardMs = clock.monotonic() - this.lookingMs;
      if (this.looking !== undefined && unheardMs > JOB_LIMITS.lookPatienceMs) await this.looking;
      if (this.why !== undefined && clock.monotonic() >= this.stuckMs) {
        this.stuckMs = Number.POSITIVE_INFINITY;
        this.options.onStuck(this.why);
      }
    }
    await this.looking;
  }

  /**
   * Whether the queue heard us. When the message went to somebody else because we were slow to say so, we go on until he
   * has started, which the journal tells: as often as not he finds the task done.
   */
  private async beat(): Promise<boolean> {
    try {
      await this.options.delivery.heartbeat();
      return true;
    } catch {
      return false; // the queue is away; the next beat tries again
    }
  }

  /** Begins a look and waits for none: an election of the journal's leader must not keep us from telling the queue that we live. */
  private lookOnce(): void {
    if (this.looking !== undefined) return;
    this.lookingMs = this.options.clock.monotonic();
    this.looking = this.look().finally(() => {
      this.looking = undefined;
    });
  }

  private async look(): Promise<void> {
    try {
      this.check(await this.options.actors.look(this.options.message.job));
    } catch {
      // The journal is away: nothing can be committed now either.
    }
  }

  private check(state: JobState): void {
    const { message, claim } = this.options;
    if (isSettled(state.status) || state.status === 'absent') this.stop('ended');
    else if (holds(state, message.task, claim)) {
      if (state.status === 'paused') this.stop('paused');
    } else {
      // Between the commit of our own result and its reply the task is done and no longer held.
      const task = state.tasks[message.task];
      if (task?.phase !== 'done' || task.claim !== claim) this.stop('lost');
    }
  }
}
