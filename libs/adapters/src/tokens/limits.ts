/** Clocks of an identity provider and of a cluster differ by seconds; more than this is a clock to be set. */
export const CLOCK_SKEW_SECONDS = 30;

/** A token travels in HTTP/2 headers, of which a peer takes 16 KiB in all. */
export const TOKEN_CHARACTERS_MAX = 8 * 1024;

/** A tenant is part of every job's record, and of the metadata of every call. */
export const TENANT_CHARACTERS_MAX = 128;

/** How late keys in a file are noticed to have changed. */
export const KEYS_POLL_MS = 2_000;

/** Some hundred keys; a path or address that names something else must not fill the memory. */
export const KEYS_BYTES_MAX = 1024 * 1024;

/** An identity provider that needs longer is away: callers get `unavailable`, not a hanging call. */
export const KEYS_TIMEOUT_MS = 5_000;

/** Keys of an identity provider are fetched again at this age, and for an unknown key not more often than the pause. */
export const KEYS_AGE_MS = 10 * 60_000;
export const KEYS_PAUSE_MS = 30_000;

/** A token cannot be taken back, only its key: a year is the longest that anybody is trusted on one signature. */
export const TOKEN_DAYS_MAX = 366;
