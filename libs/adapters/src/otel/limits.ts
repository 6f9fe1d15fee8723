/** Spans that have ended and wait to be sent: some 2 MB; past it they are dropped, because calls come first. */
export const SPANS_WAITING_MAX = 2048;

/** Spans of one export: some 300 kB of JSON, below the 4 MiB that receivers take. */
export const BATCH_SPANS_MAX = 512;

/** How long a span waits for others to be sent with: a trace is looked at while the call is still on one's mind. */
export const BATCH_DELAY_MS = 1_000;

/** One export, with its repeats: a receiver that is slower than this is away. */
export const EXPORT_TIMEOUT_MS = 3_000;

/** How long the end of a process waits for its last spans to leave; less than what a drain has to spare. */
export const FLUSH_MS = 2_000;

/** The same, where the batch before was lost: a try, for a receiver that has just come back. */
export const FLUSH_AWAY_MS = 200;

/**
 * Spans that one call, task or command may begin, with all its parts in this process: a training makes thousands of calls, and
 * receivers refuse a trace that large (Tempo: 5 MB). What comes later is not recorded, here and wherever it calls.
 */
export const SPANS_PER_ROOT_MAX = 500;

/** Of one attribute or error text: enough to read what went wrong, too little to carry a request. */
export const TEXT_CHARACTERS_MAX = 256;

/** What the standard says of `tracestate`: more is dropped. */
export const TRACESTATE_CHARACTERS_MAX = 512;
