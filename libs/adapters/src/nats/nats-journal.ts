import { assert, dataLoss, OperationError } from '@heddle/core';
import type { Journal, JournalEvent } from '@heddle/ports';
import type { StreamInfo } from '@nats-io/jetstream';
import { Announcements } from './announcements.ts';
import { packEvents, unpackEvents } from './event-frames.ts';
import { appendMessage, bornAt, type JournalSubject, type Tail, tailOf } from './journal-append.ts';
import { NATS_LIMITS } from './limits.ts';
import { nameOf, subjectTokens } from './names.ts';
import { guarded, type NatsLink } from './nats-link.ts';
import { Removals } from './removals.ts';
import { ensureStream, streamInfo, subjectCounts, subjectsOf } from './streams.ts';
import { lastOf, readUpTo, type Stored } from './subject-pages.ts';

export interface NatsJournalOptions {
  /** Budget of the journal on each server; past it appends answer `resource_exhausted`. */
  readonly bytesMax?: number;
}

/**
 * The journal as one JetStream stream, a subject for each of our streams. The fence is the server's: a message is stored
 * only if the subject's last message is the one that the append was decided on.
 */
export class NatsJournal implements Journal {
  private readonly link: NatsLink;
  private readonly name: string;
  /** Ends as this process last saw them: a guess that saves a look, checked by the server at every append. */
  private readonly tails = new Map<string, Tail>();
  /** Where streams began, which never changes while they live. */
  private readonly births = new Map<string, number>();
  private readonly removals: Removals;
  readonly found: StreamInfo;

  private constructor(link: NatsLink, found: StreamInfo, removals: Removals) {
    this.link = link;
    this.name = found.config.name;
    this.found = found;
    this.removals = removals;
  }

  static async open(link: NatsLink, { bytesMax }: NatsJournalOptions = {}): Promise<NatsJournal> {
    const { prefix } = link;
    const found = await ensureStream(link, {
      name: `${prefix.toUpperCase()}_JOURNAL`,
      subjects: [`${prefix}.journal.>`],
      retention: 'limits',
      storage: 'file',
      discard: 'new', // a full journal refuses; it never forgets the oldest
      max_bytes: bytesMax ?? -1,
      max_age: 0,
      max_msgs_per_subject: -1,
      duplicate_window: NATS_LIMITS.dedupMs * 1e6,
      republish: { src: `${prefix}.journal.>`, dest: `${prefix}.journaled.>`, headers_only: true },
    });
    return new NatsJournal(link, found, await Removals.open(link));
  }

  async append(
    stream: string,
    expected: number,
    events: readonly Uint8Array[],
    life?: number,
  ): Promise<number> {
    assert(events.length > 0, 'an append of no events');
    const message = packEvents(events);
    this.link.checkMessage(message.length);
    const of = this.subject(stream);
    const known = this.tails.get(stream);
    const isLife = ({ born }: Tail): boolean =>
      expected === 0 || life === undefined || born === life;
    const trusted = known?.last === expected && isLife(known);
    const base = trusted ? known : await tailOf(this.link, of);
    if (base.last !== expected || !isLife(base)) {
      this.remember(stream, base);
      throw conflict(stream, expected, base.last);
    }
    this.tails.delete(stream);
    const stored = await appendMessage(this.link, of, { base, message, count: events.length });
    if (stored === undefined) {
      const { last } = await tailOf(this.link, of);
      throw conflict(stream, expected, last);
    }
    this.remember(stream, stored);
    return stored.last;
  }

  async read(stream: string, after = 0): Promise<readonly JournalEvent[]> {
    const of = this.subject(stream);
    const last = await lastOf(this.link, of);
    const known = after === 0 ? undefined : this.tails.get(stream);
    if (last === undefined || lastEvent(last) < after || (known && known.born !== bornAt(last))) {
      this.forget(stream);
      if (after > 0) throw gone(stream, after);
      if (last === undefined) return [];
    }
    if (after === 0 && (await this.removedAgain(stream))) return this.read(stream);
    const begun = known?.last === after;
    // Not from the stream's beginning: a replica that lags may still have messages of a life before a removal.
    const messages = await readUpTo(this.link, of, begun ? known.seq + 1 : bornAt(last), last);
    const events = eventsOf(stream, messages, begun ? after + 1 : 1);
    if (typeof events === 'object') {
      const end = messages.at(-1);
      if (end !== undefined) {
        this.remember(stream, { last: lastEvent(end), seq: end.seq, born: bornAt(end) });
      }
      return events.filter(({ sequence }) => sequence > after);
    }
    // Removed while it was being read, which takes several requests, or really lost: then its end is still what it was.
    if ((await lastOf(this.link, of))?.seq !== last.seq) return this.read(stream, after);
    if (await this.removedAgain(stream)) return this.read(stream, after);
    throw gap(stream, events, messages);
  }

  async *follow(stream: string, after: number, signal: AbortSignal): AsyncGenerator<JournalEvent> {
    const { link } = this;
    const subject = `${link.prefix}.journaled.${subjectTokens(stream)}`;
    const announced = await guarded(
      `following ${stream}`,
      async () => new Announcements(link, subject),
    );
    let last = after;
    let heardMs = link.clock.monotonic();
    try {
      while (!signal.aborted) {
        announced.rearm();
        let page: readonly JournalEvent[] = [];
        try {
          page = await this.read(stream, last);
          heardMs = link.clock.monotonic();
        } catch (error) {
          const away = OperationError.from(error).code === 'unavailable';
          const patient = link.clock.monotonic() - heardMs < NATS_LIMITS.followPatienceMs;
          if (!away || !patient) throw error;
        }
        for (const event of page) {
          yield event;
          last = event.sequence;
          if (signal.aborted) return;
        }
        if (page.length === 0) await announced.wait(NATS_LIMITS.followPollMs, signal);
      }
    } finally {
      announced.close();
    }
  }

  async streams(prefix: string, limit: number, after?: string): Promise<readonly string[]> {
    const { link } = this;
    const root = `${link.prefix}.journal.`;
    const subjects = await subjectsOf(link, this.name, `${root}>`);
    const names = subjects.map((subject) => nameOf(subject.slice(root.length)));
    await this.learnBirths(names.filter((name) => !this.births.has(name)));
    const present = new Set(names);
    for (const name of this.births.keys()) if (!present.has(name)) this.births.delete(name);
    const birth = (name: string): number => this.births.get(name) ?? 0;
    const from = after === undefined ? 0 : birth(after);
    return names
      .filter((name) => name.startsWith(prefix) && birth(name) > from)
      .sort((a, b) => birth(a) - birth(b))
      .slice(0, limit);
  }

  /** As many messages under a subject as there were appends: so their number changes with each. */
  async ends(prefix: string): Promise<ReadonlyMap<string, number>> {
    const root = `${this.link.prefix}.journal.`;
    const subjects = await subjectCounts(this.link, this.name, `${root}>`);
    const ends = new Map<string, number>();
    for (const [subject, count] of Object.entries(subjects)) {
      const name = nameOf(subject.slice(root.length));
      if (name.startsWith(prefix)) ends.set(name, count);
    }
    return ends;
  }

  async remove(stream: string, condition?: (last: JournalEvent) => boolean): Promise<void> {
    const of = this.subject(stream);
    const end = await lastOf(this.link, of);
    if (end === undefined || condition?.(lastIn(stream, end)) === false) return;
    // Up to that end: what a new life of the stream appends meanwhile lies behind it.
    await this.purge(stream, end.seq);
    await this.removals.add(of, end.seq);
  }

  private async purge(stream: string, upTo: number): Promise<void> {
    const { subject } = this.subject(stream);
    await this.link.patiently(`removing ${stream}`, () =>
      this.link.jsm.streams.purge(this.name, { filter: subject, seq: upTo + 1 }),
    );
    this.forget(stream);
  }

  /** Takes away what a killed server gave back of a stream that was removed; false when there is nothing of that kind. */
  private async removedAgain(stream: string): Promise<boolean> {
    const upTo = await this.removals.returned(this.subject(stream));
    if (upTo === undefined) return false;
    this.link.log.warn('a removed journal stood again and is removed', { stream });
    await this.purge(stream, upTo);
    return true;
  }

  async bytes(): Promise<number> {
    return (await streamInfo(this.link, this.name))?.state.bytes ?? 0;
  }

  /** The connection is its owner's to close. */
  async close(): Promise<void> {
    this.tails.clear();
    this.births.clear();
  }

  private subject(stream: string): JournalSubject {
    const subject = `${this.link.prefix}.journal.${subjectTokens(stream)}`;
    return { stream: this.name, subject };
  }

  private async learnBirths(names: readonly string[]): Promise<void> {
    for (let at = 0; at < names.length; at += NATS_LIMITS.lookupsAtOnce) {
      await Promise.all(
        names.slice(at, at + NATS_LIMITS.lookupsAtOnce).map(async (name) => {
          const last = await lastOf(this.link, this.subject(name));
          if (last !== undefined) this.births.set(name, bornAt(last));
        }),
      );
    }
  }

  private remember(stream: string, tail: Tail): void {
    this.tails.delete(stream); // to the newest place
    if (tail.last > 0) this.tails.set(stream, tail);
    const [oldest] = this.tails.keys();
    if (this.tails.size > NATS_LIMITS.tailsMax && oldest !== undefined) this.tails.delete(oldest);
  }

  private forget(stream: string): void {
    this.tails.delete(stream);
    this.births.delete(stream);
  }
}

const firstEvent = (message: Stored): number => Number(message.headers?.get('Heddle-First'));

/** The events of these messages; or the number of the first that is missing. */
function eventsOf(
  stream: string,
  messages: readonly Stored[],
  first: number,
): readonly JournalEvent[] | number {
  const events: JournalEvent[] = [];
  let sequence = first;
  for (const message of messages) {
    if (firstEvent(message) !== sequence) return sequence;
    const { timeMs } = message;
    const life = bornAt(message);
    for (const bytes of unpackEvents(message.data)) {
      events.push({ stream, sequence, life, timeMs, bytes });
      sequence += 1;
    }
  }
  return events;
}

/** The last of the events that a message holds. */
function lastIn(stream: string, message: Stored): JournalEvent {
  const bytes = unpackEvents(message.data).at(-1) ?? new Uint8Array();
  const { timeMs } = message;
  return { stream, sequence: lastEvent(message), life: bornAt(message), timeMs, bytes };
}

const lastEvent = (message: Stored): number => Number(message.headers?.get('Heddle-Last'));

function gone(stream: string, after: number): OperationError {
  return new OperationError({
    code: 'aborted',
    message: `${stream} was removed since event ${after} was read: fold it from the beginning`,
    details: { after },
  });
}

function conflict(stream: string, expected: number, last: number): OperationError {
  return new OperationError({
    code: 'aborted',
    message: `${stream} ends at ${last}, not at ${expected}: fold again and decide again`,
    details: { expected, last },
  });
}

function gap(stream: string, expected: number, messages: readonly Stored[]): OperationError {
  const found = messages.map(firstEvent).find((first) => first > expected) ?? 0;
  return dataLoss(
    `the journal lost events of ${stream}: ${expected} should come and ${found} does. Restore the stream from a replica or a backup`,
    { details: { expected, found } },
  );
}
