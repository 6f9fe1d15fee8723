/** Contrasts of one fit, and key positions on one side of one, as the contract says. */
export const CONTRASTS_MAX = 100_000;
export const POSITIONS_MAX = 1_024;

/** A feature's name is part of a file's keys. */
export const FEATURE_BYTES_MAX = 128;

/** Prompts in one call to the activation server: a few MiB of queries and keys at a time. */
export const CAPTURE_PROMPTS = 32;

/**
 * Fits that get a null of shuffled labels: 40 small SVDs each, half a second at d_head 64. Scans of
 * all heads go without.
 */
export const NULL_FITS_MAX = 32;

/** Seed of the null's shuffles: the same request gives the same null. */
export const NULL_SEED = 1;

/**
 * Fits in a summary, the strongest first, and singular values of each: 200 KB. The file has all of
 * them.
 */
export const FITS_SHOWN = 1_024;
export const SINGULAR_VALUES_SHOWN = 16;

/** Multiply-adds a second of the engine on one busy core: what an estimate of a capture's time rests on. */
export const CAPTURE_RATE = 3e10;
