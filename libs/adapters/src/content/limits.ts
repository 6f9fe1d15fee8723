/** Every number that bounds models as content, with the reason. */

/** Files of one model: the shards of the largest checkpoints are some hundred. */
export const FILES_MAX = 1024;
/** A config or tokenizer: the largest tokenizer.json known has 35 MB. Read into memory whole. */
export const SMALL_FILE_BYTES_MAX = 64 * 2 ** 20;
/** One weight file; hubs cut checkpoints at 50 GB. */
export const WEIGHT_FILE_BYTES_MAX = 2 ** 40;
/** The list of a model's files: 1024 entries of 200 bytes, and some. */
export const LIST_BYTES_MAX = 2 ** 20;
/** Lists that are kept in memory: one for every model that may be named. */
export const LISTS_KEPT_MAX = 1024;

/** Attempts at one file without a byte gained; with each gained byte the count begins again. */
export const ATTEMPTS_MAX = 6;
/** Wait before the second attempt, doubled from one to the next; a server's Retry-After counts up to the maximum. */
export const RETRY_MS = 500;
export const RETRY_MS_MAX = 60_000;

/** A partial file untouched this long belongs to nobody any more. */
export const PARTIAL_AGE_MS = 7 * 24 * 3_600_000;
/** Read at once of a file on disk. */
export const PIECE_BYTES = 2 ** 20;

/** How often who holds a lock or a lease says that it still lives. */
export const HEARTBEAT_MS = 2_000;
/** Silent this long, a lock's holder was killed or is frozen. What a lock guards is safe without it, only done twice. */
export const LOCK_STALE_MS = 15_000;
/** Silent this long, a lease's holder uses its files no more. Longer than a lock's, because eviction harms whoever does. */
export const LEASE_STALE_MS = 120_000;
/** How often a lock is looked at again. */
export const LOCK_POLL_MS = 100;

/** How long a model that could not be had is waited for before its second attempt. */
export const PREFETCH_RETRY_MS = 2_000;
/** How often the names are looked at without an announcement. */
export const PREFETCH_REPEAT_MS = 5 * 60_000;
