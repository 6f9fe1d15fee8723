import type { Subscription } from '@nats-io/transport-node';
import type { NatsLink } from './nats-link.ts';

/** Hears that something was published under a subject; what, it does not keep. */
export class Announcements {
  private readonly link: NatsLink;
  private readonly subscription: Subscription;
  private readonly leave: () => void;
  private heard = new AbortController();

  constructor(link: NatsLink, subject: string) {
    this.link = link;
    const wake = (): void => this.heard.abort('heard');
    this.subscription = link.nc.subscribe(subject, { callback: wake });
    this.leave = link.onReturn(wake); // something may have been announced while we were away
  }

  /** What is announced from here on ends the next wait: to be called before looking. */
  rearm(): void {
    if (this.heard.signal.aborted) this.heard = new AbortController();
  }

  async wait(waitMs: number, signal?: AbortSignal): Promise<void> {
    const { heard } = this;
    const wake = (): void => heard.abort('ended');
    if (signal?.aborted) return;
    signal?.addEventListener('abort', wake, { once: true });
    await this.link.clock.sleep(waitMs, heard.signal);
    signal?.removeEventListener('abort', wake);
  }

  close(): void {
    this.leave();
    this.subscription.unsubscribe();
  }
}
