/** HTTP/2's default window of 64 KiB, not protobuf, bounds a stream of tensors: 0.3 GB/s; with this 1.2 GB/s. */
export const FLOW_CONTROL_WINDOW_BYTES = 8 * 1024 * 1024;

/** What one message may take; more goes as a stream of chunks. grpc-js's own default, said here because callers rely on it. */
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;

/**
 * Calls that one connection may hold open at a time: more than a process takes in all, so that who asks too much is told,
 * and does not wait in its own client for a stream.
 */
export const CONCURRENT_STREAMS_MAX = 1000;

/** What a process holds open, over all connections. */
export const CALL_LIMITS = {
  /** Each holds some 100 kB and its place in a queue; a laptop answers some hundred a second of the smallest. */
  calls: 512,
  /** Apart from those, so that a job can be stopped on a server that is full. */
  steering: 128,
  /** Each follows a stream of the journal. */
  watches: 512,
  /** Requests as they came; decoded they are several times as large. */
  requestBytes: 256 * 1024 * 1024,
} as const;

/** When one who found a full process should ask again: it turns over its calls within seconds. */
export const OVERLOAD_RETRY_AFTER_MS = 1000;

/** A reader that is there and takes nothing holds memory that others wait for. */
export const STALLED_READER_MS = 10 * 60_000;

/** An error travels in HTTP/2 trailers, which peers bound at 16 KiB in all; base64 and the plain copy take half. */
export const ERROR_TEXT_CHARACTERS_MAX = 3000;

/** A unary call without a deadline of its own. */
export const UNARY_TIMEOUT_MS = 60_000;

/** How long calls may still run after they were told to stop, before their connections are cut. */
export const ABORT_GRACE_MS = 1000;

/** When all calls are answered, how long the last bytes may take to leave. */
export const LAST_BYTES_MS = 250;

/**
 * How long a job's task asks a peer that is full or away, within the one attempt: a roll-out of a node, or an overload. Then the
 * attempt fails, and the job's own attempts and delays follow.
 */
export const PATIENCE_MS = 10 * 60_000;
export const PATIENCE_DELAY_MS_MIN = 100;
export const PATIENCE_DELAY_MS_MAX = 5_000;

/** Retries of methods that may be sent twice: about a second in all, the time a restarting server needs. */
export const RETRY = {
  maxAttempts: 5,
  initialBackoff: '0.1s',
  maxBackoff: '0.5s',
  backoffMultiplier: 2,
  retryableStatusCodes: ['UNAVAILABLE'],
} as const;

/** A peer that is gone without a word (a cable, a frozen machine) is noticed after this and twice the timeout. */
export const KEEPALIVE_TIME_MS = 30_000;
export const KEEPALIVE_TIMEOUT_MS = 10_000;

/** Tries to reach a server that is away: a restarted one is found again within a second, not grpc-js' two minutes. */
export const RECONNECT_FIRST_MS = 250;
export const RECONNECT_MOST_MS = 1_000;

/** How long a front door waits for a service that is away before it says so: more than what is between two tries to reach it. */
export const REACH_MS = 2_000;

/** A name of several servers is looked up again this soon after one of them was lost: replaced ones have new addresses. */
export const LOOK_UP_AGAIN_MS = 3_000;

/** A tenant is part of the metadata of every call. */
export const TENANT_CHARACTERS_MAX = 128;

/**
 * With TLS a connection is made anew after this: so long a certificate that was withdrawn, or has ended, is trusted at
 * most. Streams that are open go on.
 */
export const TLS_CONNECTION_AGE_MS = 10 * 60_000;

/** How long the reason why nobody answers is asked for, after nobody has. */
export const WHY_MS = 1000;

/** A server that has tried for this long itself (a store without a leader), or says to come back no sooner, is not asked again by the caller's channel. */
export const TRIED_ENOUGH_MS = 5_000;
