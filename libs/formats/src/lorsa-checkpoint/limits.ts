/** Characters of a config.json: thirty short keys; a megabyte is a mistake or an attack. */
export const CONFIG_BYTES_MAX = 1 << 20;

/** Tokens of context in a checkpoint: `mask` has n_ctx² bytes, so 32768 is a gigabyte already. */
export const CONTEXT_MAX = 32_768;

/** Elements of W_Q after its heads are repeated: 2 GiB in fp32, the largest published layer has a tenth. */
export const REPEATED_ELEMENTS_MAX = 2 ** 29;
