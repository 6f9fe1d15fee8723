/** Share of squared singular values that a rank keeps: the paper's threshold everywhere. */
export const RANK_ENERGY = 0.99;

/**
 * Shuffles of the labels behind a null rank: the 95th percentile of 40 draws is the second largest
 * but one.
 */
export const NULL_DRAWS = 40;

/** A singular value counts when it is above this share of the null's largest ones. */
export const NULL_PERCENTILE = 0.95;

/**
 * Queries and keys that a fit keeps to shuffle them (fp64, all heads). Half a gibibyte is 2,000
 * prompts of 25 keys on 40 heads of 64; a worker beside an engine has no more to spare.
 */
export const SAMPLE_BYTES_MAX = 512 * 2 ** 20;
