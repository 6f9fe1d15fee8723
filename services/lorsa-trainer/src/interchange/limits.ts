/** Tokens that an import is checked on: FVU is then good to a few percent of itself, which no decision here needs better. */
export const CHECK_TOKENS = 2048;

/** Tokens per sequence of the check: long enough for heads that look back, and most layers can take them. */
export const CHECK_CONTEXT = 128;

/** Multiply-adds of the check of one reading, about ten seconds in double: very wide layers are checked on fewer tokens. */
export const CHECK_WORK = 5e10;

/** … but never on fewer than this: a mean and a variance over all coordinates are known from it. */
export const CHECK_TOKENS_MIN = 128;

/** A variance over fewer tokens than this is a matter of chance: a text so short decides nothing. */
export const CHECK_TOKENS_LEAST = 32;

/**
 * FVU from which a reading does not fit its host. Predicting the mean output gives 1, a wrong scale or a wrong layer more.
 * Published layers leave 0.1 to 0.3 on their own text; the check may use other text, so that only what is as
 * good as nothing is refused.
 */
export const FVU_FITS_BELOW = 0.9;

/** Readings closer than this are the same for the purpose: the file's own word decides between them. */
export const FVU_TIE = 0.005;

/**
 * What is left of the FVU, at most, where a file is said to read before its norm's gain. Weights are rewritten then, so
 * that it takes more than a few percent: a layer that fits badly either way (0.280 against 0.291 was seen, of one whose
 * norms were lost) is not told apart by them.
 */
export const BEFORE_GAIN_SHARE = 0.8;

/**
 * How far a stored mean norm may lie from the host's on this text, as a factor, and still be a measurement: text moves a mean
 * norm by some ten percent, special tokens that were counted in perhaps by two; uninitialised memory is anything.
 */
export const NORM_RATIO_MAX = 10;

/** Bytes of a chunk of an exported file: the contract's data plane (256 KiB to 1 MiB). */
export const EXPORT_CHUNK_BYTES = 256 * 1024;

/** Tokens of context in a file: its mask has n_ctx² bytes, a gigabyte at this. */
export const N_CTX_MAX = 32_768;
