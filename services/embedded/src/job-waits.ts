import type { JobView } from '@heddle/actor';

/** What keeps jobs from going on that is not of their own making, in words; empty: nothing known. */
export class JobWaits {
  private readonly listeners = new Set<() => void>();
  private reason = '';

  get current(): string {
    return this.reason;
  }

  set(reason: string): void {
    if (reason === this.reason) return;
    this.reason = reason;
    for (const listener of [...this.listeners]) listener();
  }

  /** Resolves at the next change, or with the signal. */
  changed(signal: AbortSignal): Promise<undefined> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const tell = () => resolve(undefined);
    this.listeners.add(tell);
    signal.addEventListener('abort', tell);
    return promise.finally(() => {
      this.listeners.delete(tell);
      signal.removeEventListener('abort', tell);
    });
  }

  /** Each view as it comes, and the last one again whenever what it waits for changes: a task that waits says nothing itself. */
  async *told(
    watch: (signal: AbortSignal) => AsyncIterable<JobView>,
    signal: AbortSignal,
  ): AsyncGenerator<JobView> {
    const left = new AbortController();
    const views = watch(AbortSignal.any([signal, left.signal]))[Symbol.asyncIterator]();
    try {
      let view: JobView | undefined;
      for (let next = views.next(); ; ) {
        const looked = new AbortController();
        const news = await Promise.race([next, this.changed(looked.signal)]).finally(() =>
          looked.abort('looked'),
        );
        if (news?.done) return;
        if (news !== undefined) {
          view = news.value;
          next = views.next();
        }
        if (view !== undefined) yield view;
      }
    } finally {
      left.abort('left');
    }
  }
}
