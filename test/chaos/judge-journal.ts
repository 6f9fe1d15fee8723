import type { JobEvent } from '@heddle/actor';

/** What one journal says happened to its job, and what of it cannot have been decided in order. */
export interface Story {
  readonly sequence: number;
  readonly kind: string;
  /** The event that ended it. */
  readonly end: 'completed' | 'failed' | 'cancelled' | undefined;
  /** Digest of the result. */
  readonly result: string | undefined;
  /** Why attempts failed, and at last the job, if it did. */
  readonly errors: readonly string[];
  /** Who works on which task. */
  readonly running: ReadonlyMap<number, string>;
  readonly tasks: number;
  readonly done: number;
  readonly starts: number;
  readonly firstMs: number;
  readonly lastMs: number;
  /** Sentences about what was broken; empty when nothing was. */
  readonly violations: readonly string[];
}

const ENDS: ReadonlySet<string> = new Set(['completed', 'failed', 'cancelled']);

/** Reads a journal without the code that wrote it. */
class Reader {
  readonly running = new Map<number, string>();
  readonly done = new Set<number>();
  readonly cursors = new Map<number, number>();
  readonly violations: string[] = [];
  kind = '';
  end: Story['end'];
  result: string | undefined;
  tasks = 0;
  starts = 0;
  sequence = 0;

  read(event: JobEvent): void {
    this.sequence += 1;
    const { type } = event;
    if (this.end !== undefined && type !== 'pinned' && type !== 'forgotten') {
      this.wrong(`${type} after ${this.end}`);
    }
    if ((this.sequence === 1) !== (type === 'submitted'))
      this.wrong(`${type} is event ${this.sequence}`);
    if ((this.sequence === 2) !== (type === 'split'))
      this.wrong(`${type} is event ${this.sequence}`);
    if ('claim' in event) this.attempt(event);
    else this.whole(event);
  }

  private whole(event: Exclude<JobEvent, { readonly claim: string }>): void {
    switch (event.type) {
      case 'submitted':
        this.kind = event.kind;
        return;
      case 'split':
        this.tasks = event.tasks.length + (event.reduce ? 1 : 0);
        return;
      case 'resumed':
        this.running.clear();
        this.end = undefined;
        return;
      case 'completed':
      case 'failed':
      case 'cancelled':
        this.end = event.type;
        if (event.type !== 'completed') return;
        this.result = event.blob;
        if (this.done.size !== this.tasks) {
          this.wrong(`completed with ${this.done.size} of ${this.tasks} tasks done`);
        }
        return;
      default:
    }
  }

  private attempt(event: Extract<JobEvent, { readonly claim: string }>): void {
    const { task, claim, type } = event;
    if (task >= this.tasks) this.wrong(`${type} of task ${task}, there are ${this.tasks}`);
    if (type === 'started') {
      if (this.done.has(task)) this.wrong(`task ${task} started after it was done`);
      this.starts += 1;
      this.running.set(task, claim);
      return;
    }
    const holder = this.running.get(task);
    if (holder !== claim) {
      this.wrong(`${type} of task ${task} by ${claim}, but ${holder ?? 'nobody'} holds it`);
    }
    if (type === 'checkpointed') {
      const before = this.cursors.get(task) ?? Number.NEGATIVE_INFINITY;
      if (event.cursor < before)
        this.wrong(`checkpoint ${event.cursor} of task ${task} after ${before}`);
      this.cursors.set(task, event.cursor);
      return;
    }
    if (type === 'checkpoint-lost') {
      this.cursors.delete(task);
      return;
    }
    if (type === 'task-done') {
      if (this.done.has(task)) this.wrong(`task ${task} done twice`);
      this.done.add(task);
    }
    this.running.delete(task);
  }

  private wrong(what: string): void {
    this.violations.push(`event ${this.sequence}: ${what}`);
  }
}

/** Events of one job in their order → its story. A job that is not over yet is judged so far. */
export function judgeJournal(events: readonly JobEvent[]): Story {
  const reader = new Reader();
  for (const event of events) reader.read(event);
  const ends = events.filter(({ type }) => ENDS.has(type)).length;
  const resumes = events.filter(({ type }) => type === 'resumed').length;
  const violations = [...reader.violations];
  if (ends > 1 + resumes) violations.push(`${ends} ends`);
  const errors = events.flatMap((event) => ('error' in event ? event.error.message : []));
  const { sequence, kind, end, result, running, tasks, done, starts } = reader;
  return {
    ...{ sequence, kind, end, result, errors, running, tasks, starts, violations },
    done: done.size,
    firstMs: events[0]?.timeMs ?? 0,
    lastMs: events.at(-1)?.timeMs ?? 0,
  };
}
