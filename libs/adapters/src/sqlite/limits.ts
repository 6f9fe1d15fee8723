/** Every number that bounds the SQLite adapters, with the reason. */
export const SQLITE_LIMITS = {
  /** Another process holds the write lock for one append; five seconds of it is a stuck disk. */
  busyTimeoutMs: 5_000,
  /** How late a change by another process is seen; one by this process is seen at once. */
  pollMs: 50,
  /** As in NATS, so that what works here works in a cluster. */
  messageBytesMax: 1024 * 1024,
  /** Messages of one queue. */
  queueMessagesMax: 100_000,
  queueFullRetryMs: 5_000,
  /** Dead letters kept per queue, the newest: they are for people to read. */
  deadLettersMax: 1_000,
  /** Events read at once when a stream is followed. */
  followPage: 500,
  schemaVersion: 2,
} as const;
