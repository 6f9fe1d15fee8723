import type { DeadLetter } from '@heddle/ports';
import { headers } from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { nameOf, oneToken } from './names.ts';
import type { NatsLink } from './nats-link.ts';
import { ensureStream, subjectCounts } from './streams.ts';
import { readSubject } from './subject-pages.ts';

/** What was given up, for people to read: a subject for each queue, the newest of each kept. */
export class DeadLetters {
  private readonly link: NatsLink;
  private readonly stream: string;

  private constructor(link: NatsLink, stream: string) {
    this.link = link;
    this.stream = stream;
  }

  static async open(link: NatsLink, lettersMax: number): Promise<DeadLetters> {
    const stream = `${link.prefix.toUpperCase()}_DEAD`;
    await ensureStream(link, {
      name: stream,
      subjects: [`${link.prefix}.dead.*`],
      retention: 'limits',
      storage: 'file',
      discard: 'old',
      max_msgs_per_subject: lettersMax,
      max_bytes: NATS_LIMITS.deadBytesMax,
      max_age: 0,
      duplicate_window: NATS_LIMITS.deadDedupMs * 1e6,
    });
    return new DeadLetters(link, stream);
  }

  /** `id` is the message's own: buried again, it leaves no second letter. */
  async add(letter: DeadLetter, id: string): Promise<void> {
    const { queue, key, bytes, attempts, reason } = letter;
    const label = headers();
    label.set('Heddle-Key', encodeURIComponent(key));
    label.set('Heddle-Attempts', `${attempts}`);
    label.set('Heddle-Reason', encodeURIComponent(reason));
    await this.link.patiently(`burying ${key} of ${queue}`, () =>
      this.link.js.publish(this.subject(queue), bytes, {
        headers: label,
        msgID: `${queue} ${id}`,
        expect: { streamName: this.stream },
      }),
    );
  }

  async of(queue: string, limit: number): Promise<readonly DeadLetter[]> {
    const of = { stream: this.stream, subject: this.subject(queue) };
    const messages = await readSubject(this.link, of, 1, limit);
    return messages.map(({ headers: label, data }) => ({
      queue,
      key: decodeURIComponent(label?.get('Heddle-Key') ?? ''),
      bytes: data,
      attempts: Number(label?.get('Heddle-Attempts')),
      reason: decodeURIComponent(label?.get('Heddle-Reason') ?? ''),
    }));
  }

  async counts(): Promise<ReadonlyMap<string, number>> {
    const subjects = await subjectCounts(this.link, this.stream, `${this.root}*`);
    const named = Object.entries(subjects).map(
      ([subject, count]) => [nameOf(subject.slice(this.root.length)), count] as const,
    );
    return new Map(named);
  }

  private subject(queue: string): string {
    return `${this.root}${oneToken(queue)}`;
  }

  private get root(): string {
    return `${this.link.prefix}.dead.`;
  }
}
