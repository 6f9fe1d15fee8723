import { AckPolicy, JetStreamApiCodes } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import { NATS_LIMITS } from './limits.ts';
import { oneToken, workStream } from './names.ts';
import { hasApiCode } from './nats-error.ts';
import type { NatsLink } from './nats-link.ts';
import { ensureStream, streamInfo } from './streams.ts';

/** The one consumer of a queue: every worker pulls from it. An autoscaler finds it by this name. */
export const WORKERS = 'workers';

/** The stream and the consumer of one queue. */
export class QueueStream {
  readonly name: string;
  readonly root: string;
  readonly stream: string;
  readonly consumer = WORKERS;
  private readonly link: NatsLink;
  private readonly messagesMax: number;
  private ackWaitMs: number | undefined;
  private becomingReady: Promise<void> | undefined;

  private constructor(link: NatsLink, queue: string, messagesMax: number) {
    this.link = link;
    this.messagesMax = messagesMax;
    this.name = workStream(link.prefix, queue);
    this.stream = this.name;
    this.root = `${link.prefix}.work.${oneToken(queue)}.`;
  }

  static async open(
    link: NatsLink,
    queue: string,
    { messagesMax, bytesMax }: { readonly messagesMax: number; readonly bytesMax: number },
  ): Promise<QueueStream> {
    const made = new QueueStream(link, queue, messagesMax);
    await ensureStream(link, {
      name: made.name,
      subjects: [`${made.root}*`, `${made.root}*.*`],
      retention: 'workqueue',
      storage: 'file',
      discard: 'new',
      discard_new_per_subject: true,
      max_msgs_per_subject: 1,
      max_msgs: messagesMax,
      max_bytes: bytesMax,
      max_age: 0,
    });
    return made;
  }

  /** Begins the subject of each key of a lane; the empty lane's is what it was before there were lanes. */
  lane(lane: string): string {
    return lane === '' ? this.root : `${this.root}${oneToken(lane)}.`;
  }

  /** The consumer stands and gives a message back after this ack wait. */
  async readyFor(ackWaitMs: number): Promise<void> {
    if (this.ackWaitMs === ackWaitMs) return;
    this.becomingReady ??= this.makeConsumer(ackWaitMs).finally(() => {
      this.becomingReady = undefined;
    });
    await this.becomingReady;
    if (this.ackWaitMs !== ackWaitMs) await this.readyFor(ackWaitMs);
  }

  async depth(): Promise<{ readonly waiting: number; readonly working: number }> {
    const { link, name } = this;
    // The consumer first: what is pushed in between shows as waiting, never as a negative number.
    const consumer = await this.consumerInfo();
    // Nothing to hand out and nothing out: most queues, most of the time, and then one request says it.
    if (consumer?.num_pending === 0 && consumer.num_ack_pending === 0) {
      return { waiting: 0, working: 0 };
    }
    const messages = (await streamInfo(link, name))?.state.messages ?? 0;
    const working = Math.min(messages, consumer?.num_ack_pending ?? 0);
    return { waiting: messages - working, working };
  }

  private async makeConsumer(ackWaitMs: number): Promise<void> {
    const { link, name, messagesMax } = this;
    const settings = {
      ack_wait: nanos(ackWaitMs),
      // Without a limit: who gets a message past its attempts buries it. The server itself would leave it in the queue,
      // delivered to nobody, and say so once to whoever listens at that moment.
      max_deliver: -1,
      // What is handed back with a delay counts as pending: at the default of 1000 such, the queue would stand still.
      max_ack_pending: messagesMax,
    };
    const found = await this.consumerInfo();
    await link.patiently(`making the consumer of ${name}`, async () => {
      if (found === undefined) {
        await link.jsm.consumers.add(name, {
          durable_name: WORKERS,
          ack_policy: AckPolicy.Explicit,
          max_waiting: NATS_LIMITS.pullsWaitingMax,
          ...settings,
        });
      } else if (
        found.config.ack_wait !== settings.ack_wait ||
        found.config.max_deliver !== settings.max_deliver ||
        found.config.max_ack_pending !== settings.max_ack_pending
      ) {
        link.log.warn('a queue gets this process’s ack wait and bounds', {
          queue: name,
          ackWaitMs,
        });
        await link.jsm.consumers.update(name, WORKERS, settings);
      }
    });
    this.ackWaitMs = ackWaitMs;
  }

  private async consumerInfo() {
    try {
      return await this.link.patiently(`looking at ${this.name}`, () =>
        this.link.jsm.consumers.info(this.name, WORKERS),
      );
    } catch (error) {
      if (hasApiCode(error, JetStreamApiCodes.ConsumerNotFound)) return undefined;
      throw error;
    }
  }
}
