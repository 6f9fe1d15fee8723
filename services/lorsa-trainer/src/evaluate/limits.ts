/** K's in one request: each costs the write-out again, and a curve of more points says no more. */
export const K_COUNT_MAX = 32;

/** Pre-activations and active sets of one evaluation inside the engine, as f32: 256 MiB. */
export const MEASURE_ENTRIES = 2 ** 26;

/** Sequences that one request to the host replaces: one intervention each, of at most 256. */
export const REPLACED_SEQUENCES = 32;

/** Bytes of replacement in one request; gRPC takes messages of 4 MiB, and the token ids want room too. */
export const REPLACED_BYTES = 3.5 * 2 ** 20;

/** Losses of one answer: 32 sequences of at most 4096 tokens, fp32. */
export const LOSSES_BYTES_MAX = 8 * 2 ** 20;

/**
 * Tokens on which cross-entropies are measured, spread evenly over the text: each takes four or five passes through the
 * whole host, some minutes on two cores for 135 M parameters. The standard error beside every figure says what they are worth.
 */
export const DOWNSTREAM_TOKENS = 2 ** 15;

/** Sequences that a new autoencoder's write-out is scaled on: as many as a first batch, but at most this many tokens. */
export const SCALE_TOKENS = 4096;

/** Learning rates that a baseline tries, in units of the training's: what suits Lorsa is often too low for an autoencoder. */
export const RATE_FACTORS: readonly number[] = [1, 3, 10];

/** A rate is tried for this share of the steps … */
export const PILOT_SHARE = 0.1;

/** … but for so many at least, where the training has them: fewer tell nothing. */
export const PILOT_STEPS_MIN = 50;

/** Training tokens that a pilot is judged on: FVU is then good to a few percent of itself, and rates differ by more. */
export const PILOT_TOKENS = 16_384;
