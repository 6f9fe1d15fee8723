import type { Events } from '@heddle/ports';
import type { Msg } from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { nameOf, subjectTokens } from './names.ts';
import { guarded, type NatsLink } from './nats-link.ts';

interface Heard {
  readonly subject: string;
  readonly event: unknown;
}

/** Undefined for what is no JSON: anybody may publish, and what a callback throws ends the client's reading of everything. */
function parsed(message: Msg): unknown {
  try {
    return message.json();
  } catch {
    return undefined;
  }
}

/** Progress on core subjects: nothing is stored, and what cannot be sent now is dropped. */
export class NatsEvents implements Events {
  private readonly link: NatsLink;

  constructor(link: NatsLink) {
    this.link = link;
  }

  publish(subject: string, event: unknown): void {
    // While disconnected the client would keep what is published, without a bound.
    if (!this.link.isUp) return;
    const payload = JSON.stringify(event) ?? 'null';
    if (Buffer.byteLength(payload) > this.link.messageBytesMax) {
      this.link.log.warn('an event is too large to be sent', { subject });
      return;
    }
    this.link.nc.publish(`${this.root}${subjectTokens(subject)}`, payload);
  }

  subscribe(prefix: string, signal: AbortSignal): AsyncIterable<Heard> {
    const waiting: Heard[] = [];
    let wake = (): void => undefined;
    // A prefix may end within a token, a subscription only after one: the rest is compared here.
    const whole = prefix.slice(0, prefix.lastIndexOf('.') + 1).replace(/\.$/, '');
    const under = whole === '' ? '' : `${subjectTokens(whole)}.`;
    const subscription = this.link.nc.subscribe(`${this.root}${under}>`, {
      callback: (error, message) => {
        if (error) return;
        const subject = nameOf(message.subject.slice(this.root.length));
        if (!subject.startsWith(prefix)) return;
        const event = parsed(message);
        if (event === undefined) return;
        waiting.push({ subject, event });
        if (waiting.length > NATS_LIMITS.eventsWaitingMax) waiting.shift();
        wake();
      },
    });
    const stop = (): void => {
      subscription.unsubscribe();
      wake();
    };
    signal.addEventListener('abort', stop, { once: true });
    const ended = (): boolean => signal.aborted || subscription.isClosed();
    return (async function* hear(): AsyncGenerator<Heard> {
      try {
        while (!signal.aborted) {
          const next = waiting.shift();
          if (next !== undefined) yield next;
          else if (ended()) return;
          else
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        signal.removeEventListener('abort', stop);
        subscription.unsubscribe();
      }
    })();
  }

  /** Resolves when the server has all that was published and we have all that it sent. */
  async flush(): Promise<void> {
    await guarded('flushing events', () => this.link.nc.flush());
  }

  private get root(): string {
    return `${this.link.prefix}.events.`;
  }
}
