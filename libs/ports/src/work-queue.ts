/** A message in a worker's hands, until it says what became of it or its deadline passes. */
export interface Delivery {
  readonly queue: string;
  readonly key: string;
  readonly bytes: Uint8Array;
  /** 1 at the first delivery. */
  readonly attempt: number;
  /** Extends the deadline by the queue's ack wait. False: the message is no longer ours (stop working on it). */
  heartbeat(): Promise<boolean>;
  ack(): Promise<void>;
  nak(delayMs: number): Promise<void>;
  /** Never again: moves the message to the dead letters with the reason. */
  terminate(reason: string): Promise<void>;
}

export interface DeadLetter {
  readonly queue: string;
  readonly key: string;
  readonly bytes: Uint8Array;
  readonly attempts: number;
  readonly reason: string;
}

export interface PullOptions {
  readonly ackWaitMs: number;
  readonly attemptsMax: number;
  /** Resolves to undefined when nothing came in this time or the signal fired. */
  readonly waitMs: number;
  readonly signal?: AbortSignal;
}

export interface PushOptions {
  readonly delayMs?: number;
  /** Whose message it is: a group of keys that can be counted by itself. A key is always pushed in the same lane. */
  readonly lane?: string;
}

/**
 * At-least-once work. An acknowledgement fences nothing (two workers may both be acknowledged for one message): what
 * must happen once is fenced by the Journal.
 */
export interface WorkQueue {
  /**
   * Enqueues under a key; a key already waiting or in work in this queue is not enqueued again, so that a reconciler may repeat itself.
   * Errors: `resource_exhausted` with a retry delay when the queue is full.
   */
  push(queue: string, key: string, bytes: Uint8Array, options?: PushOptions): Promise<void>;
  pull(queue: string, options: PullOptions): Promise<Delivery | undefined>;
  /** The queue stands as `pull` needs it: who never pulls, and whoever watches from outside how long it is, find it. */
  prepare(queue: string, options: Pick<PullOptions, 'ackWaitMs'>): Promise<void>;
  /** Keys of a lane (the empty one, where none was said) that wait or are in work; a change may show some milliseconds late. */
  keys(queue: string, lane: string): Promise<readonly string[]>;
  depth(queue: string): Promise<{ readonly waiting: number; readonly working: number }>;
  deadLetters(queue: string, limit: number): Promise<readonly DeadLetter[]>;
  /** How many are kept of each queue that has any, without reading them: one question for all queues. */
  deadLetterCounts(): Promise<ReadonlyMap<string, number>>;
  close(): Promise<void>;
}
