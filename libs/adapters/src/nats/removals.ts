import { headers } from '@nats-io/transport-node';
import type { JournalSubject } from './journal-append.ts';
import { NATS_LIMITS } from './limits.ts';
import { isFull } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';
import { ensureStream } from './streams.ts';
import { lastOf, nextOf } from './subject-pages.ts';

/**
 * Up to where subjects of the journal were removed. A server that is killed can give back what was purged minutes before, whole
 * or in pieces (seen with 2.15); whatever lies before such a mark is that, because places in a stream are never used twice.
 */
export class Removals {
  private readonly link: NatsLink;
  private readonly stream: string;

  private constructor(link: NatsLink, stream: string) {
    this.link = link;
    this.stream = stream;
  }

  static async open(link: NatsLink): Promise<Removals> {
    const stream = `${link.prefix.toUpperCase()}_REMOVED`;
    await ensureStream(link, {
      name: stream,
      subjects: [`${link.prefix}.removed.>`],
      retention: 'limits',
      storage: 'file',
      discard: 'old',
      max_msgs_per_subject: 1,
      max_msgs: NATS_LIMITS.removalsMax,
      max_bytes: NATS_LIMITS.removalsBytesMax,
      max_age: 0,
    });
    return new Removals(link, stream);
  }

  /** Marks what was purged. Not kept on a full disk, where removing is what makes room. */
  async add(of: JournalSubject, upTo: number): Promise<void> {
    const label = headers();
    label.set(UP_TO, `${upTo}`);
    try {
      await this.link.patiently(`marking the removal of ${of.subject}`, () =>
        this.link.js.publish(this.subject(of), new Uint8Array(0), {
          headers: label,
          expect: { streamName: this.stream },
        }),
      );
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }

  /** Up to where a subject is to be purged again, because something of it came back; undefined when nothing did. */
  async returned(of: JournalSubject): Promise<number | undefined> {
    const mark = await lastOf(this.link, { stream: this.stream, subject: this.subject(of) });
    if (mark === undefined) return undefined;
    const upTo = Number(mark.headers?.get(UP_TO));
    const first = await nextOf(this.link, of, 1);
    return first !== undefined && first.seq <= upTo ? upTo : undefined;
  }

  private subject({ subject }: JournalSubject): string {
    const { prefix } = this.link;
    return `${prefix}.removed.${subject.slice(`${prefix}.journal.`.length)}`;
  }
}

const UP_TO = 'Heddle-Up-To';
