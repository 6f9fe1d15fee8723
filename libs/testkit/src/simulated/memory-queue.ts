import { type Rng, resourceExhausted } from '@heddle/core';
import type {
  Clock,
  DeadLetter,
  Delivery,
  PullOptions,
  PushOptions,
  WorkQueue,
} from '@heddle/ports';

interface Message {
  readonly id: number;
  readonly key: string;
  readonly lane: string;
  readonly bytes: Uint8Array;
  attempt: number;
  lease: number;
  working: boolean;
  visibleMs: number;
}

export interface MemoryQueueOptions {
  readonly clock: Clock;
  readonly messagesMax?: number;
  /** Given one, messages come in any order, as over several consumers they do. */
  readonly disorder?: Rng;
}

/** The work queue's contract in memory, for simulations; it runs the contract suite too. */
export class MemoryQueue implements WorkQueue {
  private readonly options: MemoryQueueOptions;
  private readonly byQueue = new Map<string, Message[]>();
  private readonly dead: DeadLetter[] = [];
  private readonly waiters = new Set<AbortController>();
  private ids = 0;

  constructor(options: MemoryQueueOptions) {
    this.options = options;
  }

  async push(
    queue: string,
    key: string,
    bytes: Uint8Array,
    options: PushOptions = {},
  ): Promise<void> {
    const messages = this.of(queue);
    if (messages.some((message) => message.key === key)) return;
    const messagesMax = this.options.messagesMax ?? Number.POSITIVE_INFINITY;
    if (messages.length >= messagesMax) {
      throw resourceExhausted(`queue ${queue} is full`, {
        retryAfterMs: 1_000,
        details: { messagesMax },
      });
    }
    this.enqueue(queue, { key, lane: options.lane ?? '', bytes: bytes.slice() }, options.delayMs);
  }

  /** What a network does: the same message a second time, unknown to the keys. */
  duplicate(queue: string, key: string, delayMs: number): void {
    const message = this.of(queue).find((known) => known.key === key);
    if (message !== undefined) this.enqueue(queue, message, delayMs);
  }

  async pull(queue: string, options: PullOptions): Promise<Delivery | undefined> {
    const { clock } = this.options;
    const untilMs = clock.monotonic() + options.waitMs;
    while (!options.signal?.aborted) {
      const message = this.claim(queue, options);
      if (message !== undefined) return this.delivery(queue, message, options.ackWaitMs);
      const leftMs = untilMs - clock.monotonic();
      if (leftMs <= 0) return undefined;
      const dueMs = Math.min(...this.of(queue).map(({ visibleMs }) => visibleMs)) - clock.now();
      await this.wait(Math.max(0, Math.min(leftMs, dueMs)), options.signal);
    }
    return undefined;
  }

  /** A queue is there when it is spoken of. */
  async prepare(_queue: string, _options: { readonly ackWaitMs: number }): Promise<void> {}

  async keys(queue: string, lane: string): Promise<readonly string[]> {
    const messages = this.of(queue).filter((message) => message.lane === lane);
    return [...new Set(messages.map(({ key }) => key))];
  }

  async depth(queue: string): Promise<{ readonly waiting: number; readonly working: number }> {
    const messages = this.of(queue);
    const nowMs = this.options.clock.now();
    const working = messages.filter((m) => m.working && m.visibleMs > nowMs).length;
    return { waiting: messages.length - working, working };
  }

  async deadLetters(queue: string, limit: number): Promise<readonly DeadLetter[]> {
    return this.dead.filter((letter) => letter.queue === queue).slice(0, limit);
  }

  async deadLetterCounts(): Promise<ReadonlyMap<string, number>> {
    const byQueue = Map.groupBy(this.dead, ({ queue }) => queue);
    return new Map([...byQueue].map(([queue, letters]) => [queue, letters.length]));
  }

  async close(): Promise<void> {
    for (const waiter of this.waiters) waiter.abort('woken');
  }

  private claim(queue: string, { ackWaitMs, attemptsMax }: PullOptions): Message | undefined {
    const nowMs = this.options.clock.now();
    for (;;) {
      const due = this.of(queue).filter(({ visibleMs }) => visibleMs <= nowMs);
      due.sort((a, b) => a.visibleMs - b.visibleMs || a.id - b.id);
      const { disorder } = this.options;
      const message = disorder !== undefined && due.length > 1 ? disorder.pick(due) : due[0];
      if (message === undefined) return undefined;
      if (message.attempt < attemptsMax) {
        message.attempt += 1;
        message.lease += 1;
        message.working = true;
        message.visibleMs = nowMs + ackWaitMs;
        return message;
      }
      this.bury(queue, message, `delivered ${message.attempt} times and never acknowledged`);
    }
  }

  private delivery(queue: string, message: Message, ackWaitMs: number): Delivery {
    const { lease, key, attempt } = message;
    const ours = (): boolean => message.lease === lease && this.of(queue).includes(message);
    return {
      queue,
      key,
      bytes: message.bytes.slice(),
      attempt,
      heartbeat: async () => {
        if (ours()) message.visibleMs = this.options.clock.now() + ackWaitMs;
        return ours();
      },
      ack: async () => {
        if (ours()) this.drop(queue, message);
      },
      nak: async (delayMs) => {
        if (!ours()) return;
        message.lease += 1;
        message.working = false;
        message.visibleMs = this.options.clock.now() + delayMs;
        this.wake();
      },
      terminate: async (reason) => {
        if (ours()) this.bury(queue, message, reason);
      },
    };
  }

  private enqueue(
    queue: string,
    { key, lane, bytes }: Pick<Message, 'key' | 'lane' | 'bytes'>,
    delayMs = 0,
  ): void {
    this.of(queue).push({
      id: this.ids++,
      key,
      lane,
      bytes,
      attempt: 0,
      lease: 0,
      working: false,
      visibleMs: this.options.clock.now() + delayMs,
    });
    this.wake();
  }

  private bury(queue: string, message: Message, reason: string): void {
    const { key, bytes, attempt } = message;
    this.dead.push({ queue, key, bytes, attempts: attempt, reason });
    this.drop(queue, message);
  }

  private drop(queue: string, message: Message): void {
    const messages = this.of(queue);
    messages.splice(messages.indexOf(message), 1);
  }

  private of(queue: string): Message[] {
    const known = this.byQueue.get(queue) ?? [];
    this.byQueue.set(queue, known);
    return known;
  }

  private wake(): void {
    for (const waiter of this.waiters) waiter.abort('woken');
  }

  private async wait(ms: number, signal?: AbortSignal): Promise<void> {
    const woken = new AbortController();
    const wake = (): void => woken.abort('woken'); // a reason of our own: the default one is an error with a stack
    this.waiters.add(woken);
    signal?.addEventListener('abort', wake, { once: true });
    await this.options.clock.sleep(ms, woken.signal);
    signal?.removeEventListener('abort', wake);
    this.waiters.delete(woken);
  }
}
