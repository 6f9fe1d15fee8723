import type { Events } from '@heddle/ports';
import { JOB_LIMITS } from '../limits.ts';
import type { Progress } from './job-kind.ts';
import { Listeners } from './listeners.ts';

const PREFIX = 'jobs.v1.task.progressed.';

export function progressSubject(job: string): string {
  return `${PREFIX}${job}`;
}

/** The last that was heard of each running job. */
export class ProgressBook {
  private readonly last = new Map<string, Progress>();
  private readonly listeners = new Listeners<[]>();

  /** Listens until the signal. */
  async listen(events: Events, signal: AbortSignal): Promise<void> {
    for await (const { subject, event } of events.subscribe(PREFIX, signal)) {
      if (!subject.startsWith(PREFIX)) continue;
      const { progress } = event as { readonly progress: Progress };
      const job = subject.slice(PREFIX.length);
      this.last.delete(job);
      this.last.set(job, progress);
      if (this.last.size > JOB_LIMITS.actorsCachedMax) {
        const [oldest] = this.last.keys();
        if (oldest !== undefined) this.last.delete(oldest);
      }
      this.listeners.tell(job);
    }
  }

  of(job: string): Progress | undefined {
    return this.last.get(job);
  }

  onChange(job: string, listener: () => void): () => void {
    return this.listeners.add(job, listener);
  }
}
