import type { Delivery } from '@heddle/ports';
import type { Msg } from '@nats-io/transport-node';
import { nameOf } from './names.ts';
import type { NatsLink } from './nats-link.ts';

/** What the server says of a delivered message in its reply subject. */
export interface Delivered {
  readonly deliveries: number;
  /** Place in the queue's stream and the time it was stored: no other message ever has both. */
  readonly id: string;
}

/** `$JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>`, newer: with domain and account. */
export function deliveredOf(reply: string): Delivered {
  const tokens = reply.split('.');
  const at = tokens.length > 9 ? 6 : 4;
  return { deliveries: Number(tokens[at]), id: `${tokens[at + 1]}.${tokens[at + 3]}` };
}

export interface NatsDeliveryOptions {
  readonly link: NatsLink;
  readonly queue: string;
  readonly message: Msg;
  readonly attempt: number;
  readonly ackWaitMs: number;
  readonly bury: (reason: string) => Promise<void>;
}

/**
 * A message in our hands until its ack wait has passed on our own clock. The server would take an acknowledgement from
 * anybody who once held the message, and answer every heartbeat: so whoever has let it lapse says nothing any more,
 * whether or not it was given to another.
 */
export class NatsDelivery implements Delivery {
  readonly queue: string;
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly attempt: number;
  private readonly options: NatsDeliveryOptions;
  private heldUntilMs: number;

  constructor(options: NatsDeliveryOptions) {
    const { message, link } = options;
    this.options = options;
    this.queue = options.queue;
    this.key = keyOf(message);
    this.bytes = message.data.slice();
    this.attempt = options.attempt;
    this.heldUntilMs = link.clock.monotonic() + options.ackWaitMs;
  }

  async heartbeat(): Promise<boolean> {
    const { clock } = this.options.link;
    if (!this.held) return false;
    const saidMs = clock.monotonic(); // the server counts from later on: never hold longer than it does
    await this.say('+WPI');
    this.heldUntilMs = saidMs + this.options.ackWaitMs;
    return true;
  }

  ack(): Promise<void> {
    return this.letGo('+ACK');
  }

  nak(delayMs: number): Promise<void> {
    return this.letGo(nak(delayMs));
  }

  async terminate(reason: string): Promise<void> {
    if (!this.held) return;
    await this.options.bury(reason);
    this.heldUntilMs = Number.NEGATIVE_INFINITY;
  }

  private get held(): boolean {
    return this.options.link.clock.monotonic() < this.heldUntilMs;
  }

  private async letGo(word: string): Promise<void> {
    if (!this.held) return;
    await this.say(word);
    this.heldUntilMs = Number.NEGATIVE_INFINITY;
  }

  private async say(word: string): Promise<void> {
    const { link, message, queue } = this.options;
    await tell(link, message, `answering for ${this.key} of ${queue}`, word);
  }
}

/** Says what became of a message, and waits until the server has heard. */
export async function tell(
  link: NatsLink,
  message: Msg,
  what: string,
  word: string,
): Promise<void> {
  await link.request(what, message.reply ?? '', word);
}

export function nak(delayMs: number): string {
  return `-NAK ${JSON.stringify({ delay: Math.max(0, Math.ceil(delayMs)) * 1e6 })}`;
}

/** The key is the last token of the message's subject. */
export function keyOf({ subject }: Msg): string {
  return keyOfSubject(subject);
}

export function keyOfSubject(subject: string): string {
  return nameOf(subject.slice(subject.lastIndexOf('.') + 1));
}
