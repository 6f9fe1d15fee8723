/**
 * Steps of the integrated gradients' trapezoid: completeness to 1e-3 for scores of order ten. The
 * reference's number.
 */
export const IG_STEPS = 64;

/** Components that a firing may lose before its explanation is given up: the reference's cap. */
export const REMOVALS_MAX = 1_000;

/** A firing is traced while the attention is at least this over the number of keys, at most 1. */
export const DYNAMIC_THRESHOLD = 2.5;

/** Share of the objective's drop that the seeds of a probability trace must explain. */
export const PROBABILITY_SHARE = 0.8;

/**
 * SAD: attention from which a head fires, and the share of upstream contributions that makes an
 * edge.
 */
export const SAD_FIRING = 0.5;
export const SAD_EDGE_SHARE = 0.7;

/**
 * Nodes of one graph: GPT-2 small has 80 on an IOI prompt, the densest we met 900. Beyond, a trace
 * is no explanation.
 */
export const NODES_MAX = 4_096;

/**
 * The head's identity `W⁺ W = 1` in head space: a head that misses it by this has no full column
 * rank.
 */
export const RANK_TOLERANCE = 1e-6;
