/** Every number that bounds downloads from a hub, with the reason. */

/** Until a hub begins to answer. */
export const ANSWER_MS = 30_000;
/** Without a byte: the connection is dead, whatever TCP thinks. */
export const IDLE_MS = 60_000;
/** Files of a repository that are looked through; models have some hundred. */
export const ENTRIES_MAX = 10_000;
/** Of what a hub says when it refuses. */
export const REASON_BYTES_MAX = 4096;
/** OWNER, NAME, as hubs bound them. */
export const PART_CHARS_MAX = 96;
