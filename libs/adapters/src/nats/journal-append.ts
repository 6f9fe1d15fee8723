import { dataLoss } from '@heddle/core';
import { headers, type MsgHdrs } from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { isPassing, isWrongSequence, unavailable } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';
import { lastOf, nextOf, type Stored, type SubjectOf } from './subject-pages.ts';

export type JournalSubject = SubjectOf;

/** The end of one of our streams. */
export interface Tail {
  /** Number of its last event; 0 when there is none. */
  readonly last: number;
  /** Place of its last message in JetStream's stream; 0 when there is none. */
  readonly seq: number;
  /** Place of its first message. */
  readonly born: number;
}

export interface Append {
  /** The end that this append was decided on. */
  readonly base: Tail;
  readonly message: Uint8Array;
  readonly count: number;
}

export async function tailOf(link: NatsLink, of: JournalSubject): Promise<Tail> {
  const message = await lastOf(link, of);
  if (message === undefined) return { last: 0, seq: 0, born: 0 };
  const last = Number(message.headers?.get('Heddle-Last'));
  if (!(last > 0)) throw dataLoss(`${of.subject} ends with a message that is no journal's`);
  return { last, seq: message.seq, born: bornAt(message) };
}

/** Where the stream of this message began; the message that began it cannot know its own place. */
export function bornAt(message: Stored): number {
  return Number(message.headers?.get('Heddle-Born') || message.seq);
}

/**
 * Stores a message directly after the base, or nothing (undefined: something else follows the base). A time-out leaves
 * open whether it was stored; then the same message is sent again under the same id, which the server knows, and what
 * stands after the base is compared. Errors: `unavailable` when it is still open after that.
 */
export async function appendMessage(
  link: NatsLink,
  of: JournalSubject,
  append: Append,
): Promise<Tail | undefined> {
  const { base, message, count } = append;
  const id = crypto.randomUUID();
  const last = base.last + count;
  const done = (seq: number): Tail => ({ last, seq, born: base.born || seq });
  const untilMs = link.clock.monotonic() + NATS_LIMITS.patienceMs;
  for (;;) {
    try {
      const ack = await link.call(`appending to ${of.subject}`, () =>
        link.js.publish(of.subject, message, {
          msgID: id,
          headers: labels(append),
          expect: { streamName: of.stream, lastSubjectSequence: base.seq },
        }),
      );
      return done(ack.seq);
    } catch (error) {
      const refused = isWrongSequence(error);
      if (!refused && !isPassing(error)) throw error;
      if (refused) {
        const next = await nextOf(link, of, base.seq + 1);
        if (next !== undefined)
          return next.headers?.get('Nats-Msg-Id') === id ? done(next.seq) : undefined;
        // Nothing follows: either one is on its way through the replicas, or the base itself is gone.
        if ((await tailOf(link, of)).seq !== base.seq) return undefined;
      }
      if (link.clock.monotonic() >= untilMs) {
        throw unavailable(`whether an append to ${of.subject} was kept is unknown: look`, error);
      }
      await link.clock.sleep(NATS_LIMITS.retryMs);
    }
  }
}

function labels({ base, count }: Append): MsgHdrs {
  const label = headers();
  label.set('Heddle-First', `${base.last + 1}`);
  label.set('Heddle-Last', `${base.last + count}`);
  if (base.born > 0) label.set('Heddle-Born', `${base.born}`);
  return label;
}
