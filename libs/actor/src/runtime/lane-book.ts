import type { Clock, WorkQueue } from '@heddle/ports';
import { jobOfKey } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';

/**
 * What this process knows of one tenant's tasks on one queue: what the queue said last, and what went and came through
 * here since. Other processes' pushes show with the next look.
 */
export class LaneBook {
  readonly queue: string;
  readonly tenant: string;
  private readonly places: number;
  private readonly keys = new Set<string>();
  private readonly byJob = new Map<string, number>();
  private learnedMs = Number.NEGATIVE_INFINITY;
  private learning: Promise<void> | undefined;

  constructor(queue: string, tenant: string, places: number) {
    this.queue = queue;
    this.tenant = tenant;
    this.places = places;
  }

  has(key: string): boolean {
    return this.keys.has(key);
  }

  add(key: string): void {
    if (this.keys.has(key)) return;
    this.keys.add(key);
    const job = jobOfKey(key);
    this.byJob.set(job, (this.byJob.get(job) ?? 0) + 1);
  }

  /** Whether it was known here. */
  remove(key: string): boolean {
    if (!this.keys.delete(key)) return false;
    const job = jobOfKey(key);
    const left = (this.byJob.get(job) ?? 1) - 1;
    if (left > 0) this.byJob.set(job, left);
    else this.byJob.delete(job);
    return true;
  }

  /**
   * The job that may push next: of those with room, the one with the fewest tasks there, the earliest of equals. With `n`
   * jobs in a window of `W` places, `F` of them for first tasks, each may have `⌈(W − F) / n⌉`, and the first task of each
   * goes before: so a job that was there first does not keep the next one out until it has ended.
   */
  choose(jobs: Iterable<string>): string | undefined {
    const { places } = this;
    const common = places - Math.max(1, Math.floor(places / JOB_LIMITS.windowPerFirst));
    if (this.keys.size >= places) return undefined;
    let chosen: string | undefined;
    let fewest = this.keys.size < common ? Math.ceil(common / Math.max(1, this.byJob.size)) : 0;
    for (const job of jobs) {
      const has = this.byJob.get(job) ?? 0;
      if (has === 0) return job;
      if (has >= fewest) continue;
      chosen = job;
      fewest = has;
    }
    return chosen;
  }

  /** Asks the queue, unless it was asked so lately. Errors: the queue's. */
  async learn(
    { queue, clock }: { readonly queue: WorkQueue; readonly clock: Clock },
    ageMaxMs: number,
  ): Promise<void> {
    if (clock.monotonic() - this.learnedMs < ageMaxMs) return;
    this.learning ??= this.ask(queue, clock).finally(() => {
      this.learning = undefined;
    });
    await this.learning;
  }

  private async ask(queue: WorkQueue, clock: Clock): Promise<void> {
    const askedMs = clock.monotonic();
    const keys = await queue.keys(this.queue, this.tenant);
    this.keys.clear();
    this.byJob.clear();
    for (const key of keys) this.add(key);
    this.learnedMs = askedMs;
  }
}
