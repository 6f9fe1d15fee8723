/** Every number that bounds the NATS adapters, with the reason. */
export const NATS_LIMITS = {
  /** The first connection: a server that needs longer is not there. */
  connectMs: 5_000,
  /** Between two tries to come back; tries go on for ever, callers meanwhile get `unavailable`. */
  reconnectWaitMs: 250,
  /**
   * A server that is gone without a word (its machine lost power, a cable) leaves the connection standing: three pings unanswered
   * end it, and another server is gone to. The client's own two minutes would leave a process deaf for six.
   */
  pingMs: 5_000,
  pingsUnanswered: 2,
  /** One request to the server; a leader election takes up to some seconds, and callers try again. */
  requestMs: 3_000,
  /** A stream whose leader died has none until the others elect one, after 4 to 9 s: what may be repeated is, this long. */
  patienceMs: 15_000,
  /** Between these tries. */
  retryMs: 100,
  /** Of the server's payload, kept for headers and framing. */
  headerBytes: 4 * 1024,
  /** A name as part of a subject; a control line of the server takes 4096 bytes in all. */
  nameCharsMax: 1_000,
  /** How long the server knows an append's id: longer than any retry of it. */
  dedupMs: 120_000,
  /** Messages in one page of a subject, and their bytes: what a reader holds at once. */
  pageMessages: 256,
  pageBytes: 4 * 1024 * 1024,
  /** A page that does not come whole in this time will not. */
  pageMs: 10_000,
  /**
   * A follower looks so often when no change was announced. A lost connection makes it look at once; what is left is an
   * announcement lost between two servers. Each look is a millisecond and a half of CPU here and in the server.
   */
  followPollMs: 5_000,
  /** A follower waits so long for a server that went away before it gives up. */
  followPatienceMs: 60_000,
  /** Ends of journal streams remembered, for appends without a look before. */
  tailsMax: 4_096,
  /** Requests under way at once when many names are looked up. */
  lookupsAtOnce: 32,
  /** Messages of one queue, and their bytes: a server reserves these, and there is a queue for each kind of job. */
  queueMessagesMax: 100_000,
  queueBytesMax: 256 * 1024 ** 2,
  queueFullRetryMs: 5_000,
  /** Open pulls of one queue: workers of all replicas. */
  pullsWaitingMax: 4_096,
  /**
   * One pull stands so long before it is asked again: bounds how long one is waited for that was lost with the leader of
   * its consumer (a lost connection is noticed at once). Each costs five milliseconds of CPU, in an idle process too.
   */
  pullExpiresMs: 15_000,
  /** The shortest pull: in a cluster a consumer hears of a message some milliseconds after its writer. */
  pullFloorMs: 50,
  /** How much later than the server this process gives a pull up. */
  pullGraceMs: 1_000,
  /** Pause after an answer that was neither a message nor a time-out. */
  pullPauseMs: 250,
  /** Dead letters kept per queue, the newest: they are for people to read. */
  deadLettersMax: 1_000,
  /** A burial interrupted after its copy is repeated within this time without a second copy. */
  deadDedupMs: 3_600_000,
  deadBytesMax: 256 * 1024 ** 2,
  /** Removed streams of the journal that are remembered, the newest: a killed server gives back what was purged in the last minutes. */
  removalsMax: 100_000,
  removalsBytesMax: 64 * 1024 ** 2,
  /** What a listener to events may fall behind: then the oldest are dropped, which events for people may be. */
  eventsWaitingMax: 256,
  /** Pieces of a blob in the object store: half of the default payload; larger ones are no faster. */
  chunkBytes: 512 * 1024,
  /** Chunks sent and not yet acknowledged. */
  chunksInFlight: 8,
  /** Tries to publish a blob against others that publish or remove the same one. */
  blobConflictsMax: 16,
  /** Chunks without a blob older than this were left by a process that died. */
  uploadAgeMs: 3_600_000,
  /** The answer of a monitoring endpoint. */
  monitorMs: 2_000,
  monitorBytesMax: 4 * 1024 * 1024,
  /** How long closing waits for what was sent. */
  closeMs: 2_000,
} as const;
