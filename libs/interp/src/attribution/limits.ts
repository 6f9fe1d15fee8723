/**
 * Pairs of sources whose product is formed: 16 million of 64 multiplications each are a second.
 * Beyond, marginals only.
 */
export const PAIRS_MAX = 16_000_000;

/** Pairs that are listed; the others are summed. */
export const PAIRS_LISTED = 32;
