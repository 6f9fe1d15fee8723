/** Every number that bounds the kernels, and the accident that it prevents. */

/** wasm32 addresses end here; a larger training would wrap around silently. */
export const MEMORY_BYTES_MAX = 4 * 1024 ** 3;

/** More threads than this only wait for each other's memory traffic. */
export const THREADS_MAX = 64;

/** Regions start on cache lines, so that two threads never write the same one. */
export const ALIGNMENT_BYTES = 64;

/**
 * Items that a thread takes at a time: a few tens of microseconds of work, so that taking one costs nothing and the last one
 * keeps nobody waiting. Results do not depend on them, except on SUM_*, which fix the order of sums.
 */
export const TOKENS_PER_TURN = 8;
export const BUCKETS_PER_TURN = 64;
export const HEADS_PER_TURN = 32;
export const NUMBERS_PER_TURN = 32768;

/** Rows whose sum is taken in single precision; sums of these are added in double precision. */
export const SUM_ROWS = 64;
/** Numbers whose squares are summed as one. */
export const SUM_NUMBERS = 16384;

/** How often a waiting thread looks before it sleeps: about 20 µs, less than the gap between two phases of a call. */
export const SPINS_MAX = 2000;

/** How long a closing pool waits for the phase that is running. */
export const CLOSE_TIMEOUT_MS = 10_000;

/** A closed memory of this size is worth a collection (some tens of milliseconds); smaller ones wait for the next. */
export const COLLECT_BYTES_MIN = 16 * 2 ** 20;
