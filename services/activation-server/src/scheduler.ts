import { OperationError, present, resourceExhausted } from '@heddle/core';
import type { Clock } from '@heddle/ports';
import { idle, type Limits, refusalOf, type State, transition } from './actor.ts';
import { RETRY_AFTER_MS_MAX, RETRY_AFTER_MS_MIN } from './limits.ts';
import type { Effect, Message, Refusal, Waiting } from './messages.ts';

/** A prompt on its way through the engine, with what computing it takes. */
export interface Passage<Work, Result> {
  readonly waiting: Waiting;
  readonly work: Work;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** Runs one batch; resolves or rejects each passage; never throws. Whether it went through: only then its time says something. */
export type BatchRun<Work, Result> = (
  batch: readonly Passage<Work, Result>[],
  signal: AbortSignal,
) => Promise<boolean>;

export interface Submission {
  readonly run: number;
  readonly caller: string;
  /** Later prompts of a run that was let in: not refused. */
  readonly underWay: boolean;
}

export interface SchedulerOptions<Work, Result> {
  readonly limits: Limits;
  readonly runBatch: BatchRun<Work, Result>;
  readonly clock: Pick<Clock, 'monotonic'>;
  readonly onDepth?: (waiting: number) => void;
}

/** The actor's runtime: keeps its state, does what it decides, and tells it when that is done. */
export class Scheduler<Work, Result> {
  private state: State;
  private readonly options: SchedulerOptions<Work, Result>;
  private readonly passages = new Map<number, Passage<Work, Result>>();
  private running: AbortController | undefined;
  private lastId = 0;

  constructor(options: SchedulerOptions<Work, Result>) {
    this.state = idle(options.limits);
    this.options = options;
  }

  nextId(): number {
    return ++this.lastId;
  }

  /** Before anything is made of a request that would not be let in. Errors: as `submit`. */
  refuseWhenFull(caller: string): void {
    const refusal = refusalOf(this.state, caller);
    if (refusal) throw this.refused(refusal);
  }

  /** All of them or none. Errors: `resource_exhausted` with a delay when the queue is full. */
  submit(submission: Submission, passages: readonly Passage<Work, Result>[]): void {
    for (const passage of passages) this.passages.set(passage.waiting.id, passage);
    const prompts = passages.map(({ waiting }) => waiting);
    const refused = this.dispatch({ type: 'submit', ...submission, prompts }).find(
      (effect) => effect.type === 'refuse',
    );
    if (!refused) return;
    for (const { waiting } of passages) this.passages.delete(waiting.id);
    throw this.refused(refused.refusal);
  }

  /** Whoever asked is gone: what waits is forgotten, and what runs for nobody else is stopped. */
  withdraw(run: number): void {
    this.dispatch({ type: 'withdraw', run });
    for (const [id, { waiting, reject }] of this.passages) {
      if (waiting.run !== run) continue;
      this.passages.delete(id);
      reject(new OperationError({ code: 'cancelled', message: 'the run was withdrawn' }));
    }
  }

  /** The delay is when what waits now will be done, by estimate: sooner, the caller would find it full again. */
  private refused({ reason, waiting, waitMs }: Refusal): OperationError {
    const { waitingPromptsMax, waitingMsMax } = this.options.limits;
    const seconds = (waitMs / 1000).toFixed(1);
    const delayMs = Math.min(RETRY_AFTER_MS_MAX, Math.max(RETRY_AFTER_MS_MIN, waitMs));
    return resourceExhausted(
      `${waiting} prompts wait for the engine, about ${seconds} s of work; try again later`,
      {
        retryAfterMs: Math.ceil(delayMs),
        details: { limit: reason === 'time' ? waitingMsMax : waitingPromptsMax, waiting },
      },
    );
  }

  private dispatch(message: Message): readonly Effect[] {
    const [state, effects] = transition(this.state, message);
    this.state = state;
    for (const effect of effects) this.perform(effect);
    this.options.onDepth?.(this.state.waiting.length);
    return effects;
  }

  private perform(effect: Effect): void {
    if (effect.type === 'stop') this.running?.abort();
    if (effect.type !== 'run') return;
    const batch = effect.prompts.map(({ id }) => present(this.passages.get(id), `passage ${id}`));
    const running = new AbortController();
    this.running = running;
    const { clock, runBatch } = this.options;
    const startMs = clock.monotonic();
    void runBatch(batch, running.signal).then((wentThrough) => {
      for (const { waiting } of batch) this.passages.delete(waiting.id);
      const ms = wentThrough ? clock.monotonic() - startMs : undefined;
      this.dispatch({ type: 'finished', ms });
    });
  }
}
