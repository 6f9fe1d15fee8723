/** Tensors of one Apply call, in and out: a `[8, 256, 4096]` input and its features fit. */
export const APPLY_BYTES_MAX = 2 ** 30;

/** Multiply-adds up to which the fp64 twin answers by itself: half a second in which nothing else is heard. */
export const APPLY_TWIN_WORK_MAX = 5e8;

/** … and where no engine computes in double: about three seconds for one sequence, a minute in all. */
export const APPLY_TWIN_SEQUENCE_MAX = 3e9;
export const APPLY_TWIN_ALL_MAX = 6e10;

/** Multiply-adds of one Apply on the engine: about two minutes of one thread in double; more is refused with the estimate. */
export const APPLY_WORK_MAX = 1e12;

/** Memory of one run on the engine beside the pre-activations: queries, keys, scores, parameters in double. */
export const APPLY_BLOCK_BYTES = 256 * 2 ** 20;

/** Multiply-adds of one run, two to four seconds: a cancel is heard between runs. */
export const APPLY_BLOCK_WORK = 2e10;

/** Pre-activations that are sorted at once, about a tenth of a second. */
export const APPLY_GATE_ELEMENTS = 2 ** 19;

/** Pre-activations of the sequences that go to the engine together: 128 MiB. */
export const APPLY_GROUP_ELEMENTS = 2 ** 24;
