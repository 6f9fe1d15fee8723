import { OperationError, present, resourceExhausted } from '@heddle/core';
import { idle, type Limits, type State, transition } from './actor.ts';
import { RETRY_AFTER_MS } from './limits.ts';
import type { Effect, Message, Waiting } from './messages.ts';

/** A prompt on its way through the engine, with what computing it takes. */
export interface Passage<Work, Result> {
  readonly waiting: Waiting;
  readonly work: Work;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** Runs one batch; resolves or rejects each passage; never throws. */
export type BatchRun<Work, Result> = (
  batch: readonly Passage<Work, Result>[],
  signal: AbortSignal,
) => Promise<void>;

/** The actor's runtime: keeps its state, does what it decides, and tells it when that is done. */
export class Scheduler<Work, Result> {
  private state: State;
  private readonly runBatch: BatchRun<Work, Result>;
  private readonly onDepth: (waiting: number) => void;
  private readonly passages = new Map<number, Passage<Work, Result>>();
  private running: AbortController | undefined;
  private lastId = 0;

  constructor(
    limits: Limits,
    runBatch: BatchRun<Work, Result>,
    onDepth: (waiting: number) => void = () => {},
  ) {
    this.state = idle(limits);
    this.runBatch = runBatch;
    this.onDepth = onDepth;
  }

  nextId(): number {
    return ++this.lastId;
  }

  /** All of them or none. Errors: `resource_exhausted` with a delay when the queue is full. */
  submit(run: number, passages: readonly Passage<Work, Result>[]): void {
    for (const passage of passages) this.passages.set(passage.waiting.id, passage);
    const prompts = passages.map(({ waiting }) => waiting);
    const refused = this.dispatch({ type: 'submit', run, prompts }).find(
      (effect) => effect.type === 'refuse',
    );
    if (!refused) return;
    for (const { waiting } of passages) this.passages.delete(waiting.id);
    throw resourceExhausted(
      `${refused.waiting} prompts wait for the engine and ${passages.length} more do not fit; try again later`,
      {
        retryAfterMs: RETRY_AFTER_MS,
        details: { limit: this.state.limits.waitingPromptsMax, waiting: refused.waiting },
      },
    );
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

  private dispatch(message: Message): readonly Effect[] {
    const [state, effects] = transition(this.state, message);
    this.state = state;
    for (const effect of effects) this.perform(effect);
    this.onDepth(this.state.waiting.length);
    return effects;
  }

  private perform(effect: Effect): void {
    if (effect.type === 'stop') this.running?.abort();
    if (effect.type !== 'run') return;
    const batch = effect.prompts.map(({ id }) => present(this.passages.get(id), `passage ${id}`));
    const running = new AbortController();
    this.running = running;
    void this.runBatch(batch, running.signal).then(() => {
      for (const { waiting } of batch) this.passages.delete(waiting.id);
      this.dispatch({ type: 'finished' });
    });
  }
}
