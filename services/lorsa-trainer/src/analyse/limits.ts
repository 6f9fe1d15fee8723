/** Samples of one head, strongest and drawn: what a card can show. */
export const SAMPLES_MAX = 64;

/** Samples unless the request says otherwise, strongest and drawn each. */
export const SAMPLES = 8;

/** Tokens named per head and role in a summary. */
export const ROLE_TOKENS = 10;

/** Attention patterns and values of one engine run, fp32: larger batches gain nothing on a CPU. */
export const RUN_BYTES_MAX = 64 * 2 ** 20;

/** Rows of the unembedding that one engine run multiplies with all write directions. */
export const VOCABULARY_BLOCK = 4096;

/** Rows of the unembedding, fp32, that are held at once: 128 thousand tokens of 2048 numbers fit. */
export const UNEMBEDDING_BYTES_MAX = 2 ** 30;

/** Token ids whose text is asked for in one call: an answer of some 30 kB; the model's n_ctx where that is less. */
export const TEXTS_PER_CALL = 1024;

/** Analyses that a listing looks through, newest first: some megabytes each are read once. */
export const ANALYSES_MAX = 256;

/** Bytes of read analyses that are kept for the next question. */
export const ANALYSES_CACHE_BYTES_MAX = 256 * 2 ** 20;

/** Checkpoints of finished jobs that are kept open for the next card: their bytes, as they lie in the file. */
export const CHECKPOINT_CACHE_BYTES_MAX = 512 * 2 ** 20;

/** Summaries of one page, and how many unless the request says otherwise: what the contract says. */
export const PAGE_MAX = 1000;
export const PAGE = 50;

/** Results of analyses that `gc` leaves: some 100 MB for 32 thousand heads. */
export const RETAINED_BYTES_MAX = 2 * 2 ** 30;

/** Prompts and padded tokens of one run of probes through the host: some 100 MB of activations in a large model. */
export const PROBE_PROMPTS_PER_RUN = 512;
export const PROBE_TOKENS_PER_RUN = 8192;

/** Texts of probes that are tokenised side by side. */
export const TEXTS_AT_ONCE = 64;

/** Look-ups of scoring rules between two moments at which messages are heard: a third of a second. */
export const RULE_WORK = 1e8;

/** Heads whose findings are put together between two such moments. */
export const HEADS_AT_ONCE = 64;

/** Multiply-adds of the map to the host's heads, some ten seconds of one thread: 16 thousand heads of a 135M model fit, larger go without. */
export const ORIGINALS_WORK_MAX = 1e10;
