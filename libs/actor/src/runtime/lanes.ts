import { OperationError } from '@heddle/core';
import type { Clock, Log, WorkQueue } from '@heddle/ports';
import { effectsOf, type PushTask } from '../job/effects.ts';
import type { JobState } from '../job/state.ts';
import { encodeTask, queueOf } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import { LaneBook } from './lane-book.ts';
import type { JobMeters } from './metrics.ts';

export interface LanesOptions {
  readonly queue: WorkQueue;
  readonly clock: Clock;
  readonly log: Log;
  readonly meters: JobMeters;
  /** Tasks of one tenant and kind on the queue at a time. */
  readonly windowTasks: number;
  /** The job as of the journal now. */
  readonly look: (job: string) => Promise<JobState>;
}

/** Tasks of one job that wait for a place on the queue. */
interface Held {
  effects: readonly PushTask[];
  /** When they were derived from the job's state: older ones may have been pushed, and done, by others. */
  atMs: number;
}

/**
 * Closed windows: a tenant has a bounded number of tasks of a kind on the queue, and the rest waits here, in the memory of
 * the process that decided, and in the journal. The queue is first in, first out; so with equal windows those who have work
 * get equal shares, one who is alone gets everything, and a newcomer waits for one window of each other.
 */
export class Lanes {
  private readonly options: LanesOptions;
  private readonly books = new Map<string, LaneBook>();
  private readonly held = new Map<LaneBook, Map<string, Held>>();
  private holding = Promise.withResolvers<void>();

  constructor(options: LanesOptions) {
    this.options = options;
  }

  /** Pushes what its owner's window has room for and holds the rest. Never fails: what could not be pushed is held too. */
  async offer(tenant: string, effects: readonly PushTask[]): Promise<void> {
    const [first] = effects;
    if (first === undefined) return;
    const book = this.book(queueOf(first.kind), tenant);
    await this.learn(book, JOB_LIMITS.laneFreshMs);
    const waiting = this.held.get(book)?.get(first.job)?.effects ?? [];
    const known = new Set(waiting.map(({ key }) => key));
    const fresh = effects.filter(({ key }) => !known.has(key));
    if (fresh.length === 0) return;
    // Decided just now: one that is in the book is of a job of the same name that is no more, or is pushed once too often.
    for (const { key } of fresh) book.remove(key);
    const atMs = this.options.clock.monotonic();
    this.hold(book, first.job, { effects: [...waiting, ...fresh], atMs });
    await this.fill(book);
  }

  /** A message left the queue: what its owner has held moves up. */
  async left(queue: string, key: string): Promise<void> {
    for (const book of this.books.values()) {
      if (book.queue === queue && book.remove(key)) await this.fill(book);
    }
  }

  /**
   * What these jobs ask for, compared with what is on the queue now; replaces what was held. For kinds that others run,
   * nothing is held: who runs them does.
   */
  async reconcile(
    tenant: string,
    kind: string,
    jobs: readonly (readonly PushTask[])[],
    keep: boolean,
  ): Promise<void> {
    const book = this.book(queueOf(kind), tenant);
    await this.learn(book, 0);
    this.held.delete(book);
    const atMs = this.options.clock.monotonic();
    for (const asked of jobs) {
      const effects = asked.filter(({ key }) => !book.has(key));
      const [first] = effects;
      if (first !== undefined) this.hold(book, first.job, { effects, atMs });
    }
    await this.fill(book);
    if (!keep) this.held.delete(book);
  }

  /** Tasks of a kind that wait here. */
  waiting(kind: string): number {
    let count = 0;
    for (const [book, jobs] of this.held) {
      if (book.queue !== queueOf(kind)) continue;
      for (const { effects } of jobs.values()) count += effects.length;
    }
    return count;
  }

  /** While something is held, looks whether other processes made room, until the signal. */
  async repeat(signal: AbortSignal): Promise<void> {
    const { clock } = this.options;
    const ended = new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    let delayMs: number = JOB_LIMITS.laneRetryMs;
    while (!signal.aborted) {
      if (this.held.size === 0) {
        this.holding = Promise.withResolvers();
        await Promise.race([this.holding.promise, ended]);
        delayMs = JOB_LIMITS.laneRetryMs;
      }
      if (signal.aborted) return;
      await clock.sleep(delayMs, signal);
      if (signal.aborted) return;
      const moved = await this.retry();
      delayMs = moved ? JOB_LIMITS.laneRetryMs : Math.min(JOB_LIMITS.laneRetryMaxMs, delayMs * 2);
    }
  }

  private async retry(): Promise<boolean> {
    let moved = false;
    for (const book of [...this.held.keys()]) {
      await this.learn(book, 0);
      if (await this.fill(book)) moved = true;
    }
    return moved;
  }

  /** Pushes held tasks of a lane while there is room, each time of the job that has the fewest there. Whether any went. */
  private async fill(book: LaneBook): Promise<boolean> {
    let moved = false;
    for (;;) {
      const jobs = this.held.get(book);
      const job = jobs && book.choose(jobs.keys());
      if (jobs === undefined || job === undefined) return moved;
      const effect = await this.upNext(book, job);
      if (effect === undefined) continue;
      if (!(await this.push(book, effect))) return moved;
      moved = true;
    }
  }

  /** The next task of a held job, taken off the list; undefined when it has none left. */
  private async upNext(book: LaneBook, job: string): Promise<PushTask | undefined> {
    const { clock, look } = this.options;
    const jobs = this.held.get(book);
    const held = jobs?.get(job);
    if (jobs === undefined || held === undefined) return undefined;
    if (clock.monotonic() - held.atMs > JOB_LIMITS.laneFreshMs) {
      const wanted = await this.stillWanted(job, look);
      if (wanted !== undefined) {
        held.effects = held.effects.filter(({ key }) => wanted.has(key));
        held.atMs = clock.monotonic();
      }
    }
    const [first, ...rest] = held.effects.filter(({ key }) => !book.has(key));
    held.effects = rest;
    if (rest.length === 0) this.release(book, job, held);
    if (first !== undefined) book.add(first.key); // at once: whoever fills meanwhile counts it
    return first;
  }

  private async stillWanted(
    job: string,
    look: LanesOptions['look'],
  ): Promise<ReadonlySet<string> | undefined> {
    try {
      return new Set(effectsOf(await look(job)).map(({ key }) => key));
    } catch {
      return undefined; // the journal is away; a message too many is recognised by its sequence
    }
  }

  private async push(book: LaneBook, effect: PushTask): Promise<boolean> {
    const { queue, clock, log, meters } = this.options;
    const delayMs = Math.max(0, effect.readyAtMs - clock.now());
    try {
      const bytes = encodeTask(effect);
      await queue.push(book.queue, effect.key, bytes, { delayMs, lane: book.tenant });
      return true;
    } catch (error) {
      // Committed but not enqueued, as after a crash here: tried again soon, and by every reconciler.
      book.remove(effect.key);
      meters.event('jobs_effects_lost_total');
      log.warn('a task could not be enqueued; it will be again', { job: effect.job, error });
      const waiting = this.held.get(book)?.get(effect.job)?.effects ?? [];
      this.hold(book, effect.job, { effects: [effect, ...waiting], atMs: clock.monotonic() });
      return false;
    }
  }

  private hold(book: LaneBook, job: string, held: Held): void {
    const jobs = this.held.get(book) ?? new Map<string, Held>();
    this.held.set(book, jobs);
    jobs.set(job, held);
    this.holding.resolve();
  }

  private release(book: LaneBook, job: string, held: Held): void {
    const jobs = this.held.get(book);
    if (jobs?.get(job) !== held) return; // replaced meanwhile
    jobs.delete(job);
    if (jobs.size === 0) this.held.delete(book);
  }

  private async learn(book: LaneBook, ageMaxMs: number): Promise<void> {
    try {
      await book.learn(this.options, ageMaxMs);
    } catch (error) {
      const { code } = OperationError.from(error);
      this.options.log.warn('a tenant’s tasks could not be counted', { queue: book.queue, code });
    }
  }

  private book(queue: string, tenant: string): LaneBook {
    const name = `${queue} ${tenant}`;
    const known = this.books.get(name);
    if (known !== undefined) {
      this.books.delete(name); // to the young end
      this.books.set(name, known);
      return known;
    }
    const book = new LaneBook(queue, tenant, this.options.windowTasks);
    this.books.set(name, book);
    if (this.books.size > JOB_LIMITS.lanesMax) this.drop();
    return book;
  }

  private drop(): void {
    for (const [name, book] of this.books) {
      if (this.books.size <= JOB_LIMITS.lanesMax) return;
      if (!this.held.has(book)) this.books.delete(name);
    }
  }
}
