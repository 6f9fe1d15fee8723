import type { Events } from '@heddle/ports';

interface Heard {
  readonly subject: string;
  readonly event: unknown;
}

interface Subscriber {
  readonly prefix: string;
  readonly waiting: Heard[];
  wake: () => void;
}

/** What a subscriber may fall behind: then the oldest are dropped, which events for people may be. */
const WAITING_MAX = 256;

/** Events within one process. */
export class LocalEvents implements Events {
  private readonly subscribers = new Set<Subscriber>();

  publish(subject: string, event: unknown): void {
    for (const subscriber of this.subscribers) {
      if (!subject.startsWith(subscriber.prefix)) continue;
      // A copy: on a wire nobody could change what another hears.
      subscriber.waiting.push({ subject, event: structuredClone(event) });
      if (subscriber.waiting.length > WAITING_MAX) subscriber.waiting.shift();
      subscriber.wake();
    }
  }

  subscribe(prefix: string, signal: AbortSignal): AsyncIterable<Heard> {
    const subscriber: Subscriber = { prefix, waiting: [], wake: () => undefined };
    this.subscribers.add(subscriber); // now, not at the first pull: nothing after this call is missed
    signal.addEventListener('abort', () => this.subscribers.delete(subscriber), { once: true });
    return this.hear(subscriber, signal);
  }

  private async *hear(subscriber: Subscriber, signal: AbortSignal): AsyncGenerator<Heard> {
    const onAbort = (): void => subscriber.wake();
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      while (!signal.aborted) {
        const next = subscriber.waiting.shift();
        if (next !== undefined) {
          yield next;
          continue;
        }
        await new Promise<void>((resolve) => {
          subscriber.wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.subscribers.delete(subscriber);
    }
  }
}
