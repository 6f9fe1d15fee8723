/**
 * Jacobi methods converge quadratically once the angles are small: 6–10 sweeps for the sizes we
 * meet (64 to 1,024 columns). Sixty is far past every healthy matrix, and still ends in bounded
 * time on a hostile one.
 */
export const JACOBI_SWEEPS_MAX = 60;

/** Unit in the last place of 1 in fp64. */
export const EPSILON = 2 ** -52;

/**
 * Two columns count as orthogonal when their cosine is below this: eight roundings. A tighter bound
 * would chase the rounding of the dot product itself and never end.
 */
export const ORTHOGONAL = 8 * EPSILON;
