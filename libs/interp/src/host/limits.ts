/**
 * The slow twins hold a head's output at every earlier position of every layer in fp64 (30 layers
 * of 9 heads, d_model 576, 64 tokens: 80 MB) and look at each of them for each node. Past this the
 * fast versions are the tool.
 */
export const TWIN_TOKENS_MAX = 64;

/** Multiply-adds a second of plain fp64 loops on one busy core: what an estimate of a twin's time rests on. */
export const TWIN_RATE = 5e8;

/**
 * How far the attention recomputed in fp64 from the residual stream may be from the captured one.
 * Captures are fp32 and low-precision kernels reach 1e-4; a wrong weight, layout or scale is off by
 * 1e-2 at once.
 */
export const PATTERN_TOLERANCE = 1e-3;

/** `|value − Σ terms| ≤ this · Σ|terms|`: fp32 captures of long sums stay two decades below it. */
export const SUM_TOLERANCE = 1e-4;
