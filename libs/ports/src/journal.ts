/** One committed event of a stream. Sequences of a stream are 1, 2, 3 … without gaps. */
export interface JournalEvent {
  readonly stream: string;
  readonly sequence: number;
  /** Of the stream since it began; another once it was removed and began again. */
  readonly life: number;
  /** Milliseconds since 1970, stamped by the journal. */
  readonly timeMs: number;
  readonly bytes: Uint8Array;
}

/**
 * Streams of events, one writer at a time by arithmetic: an append names the sequence it expects to be the last, and
 * anything else is refused. That fence, not a lease, is what gives one job one result.
 */
export interface Journal {
  /**
   * Appends events after `expected` (0 for a new stream), all or none; resolves to the new last sequence.
   * Errors: `aborted` when the stream's last sequence is another, or its life is not the given one (fold again, decide again); `resource_exhausted`
   * when the disk or the budget is full (nothing was written).
   */
  append(
    stream: string,
    expected: number,
    events: readonly Uint8Array[],
    life?: number,
  ): Promise<number>;
  /**
   * Events after `after` in order; empty for an unknown stream. Errors: `aborted` when the stream ends before `after`, or is
   * another than the one that was read so far: somebody removed it meanwhile, so whoever folded it begins at 0.
   */
  read(stream: string, after?: number): Promise<readonly JournalEvent[]>;
  /** Events of one stream after `after`: first those that stand, then each as it comes. Ends with the signal. */
  follow(stream: string, after: number, signal: AbortSignal): AsyncIterable<JournalEvent>;
  /** Names of streams under a prefix, in order of creation, at most `limit`, after the name `after`. */
  streams(prefix: string, limit: number, after?: string): Promise<readonly string[]>;
  /**
   * Every stream under a prefix, with a number that is another after each append: whoever remembers it knows which to read
   * again. One request, however many streams there are.
   */
  ends(prefix: string): Promise<ReadonlyMap<string, number>>;
  /**
   * Removes a stream with all its events; given a condition, only if its last event meets it, and then nothing that comes
   * after that event: neither the stream's next life nor what follows an event that is not its end.
   */
  remove(stream: string, condition?: (last: JournalEvent) => boolean): Promise<void>;
  bytes(): Promise<number>;
  close(): Promise<void>;
}
