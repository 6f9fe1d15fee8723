/** Every number that bounds this service, and the accident that it prevents. */

/** Prompts of one request; more are another request. */
export const PROMPTS_MAX = 1024;
/** Bytes of a prompt's id, which comes back with every tensor of it. */
export const PROMPT_ID_BYTES_MAX = 128;
/** UTF-8 bytes of one text; the tokenizer's own bound on characters is close by. */
export const TEXT_BYTES_MAX = 1024 * 1024;
/** Hook patterns of one request; a 100-layer model has 2,200 points in all. */
export const HOOKS_MAX = 4096;
/** Interventions of one request: each is folded on the host. */
export const INTERVENTIONS_MAX = 256;

/** Bytes that one request may stream. Beyond it the caller wants positions, fewer hooks, or several requests. */
export const RUN_BYTES_MAX = 8 * 1024 ** 3;
/** Memory that one batch may take in the engine: outputs and the widest intermediate. */
export const BATCH_BYTES_MAX = 2 * 1024 ** 3;
/** Padded tokens of one batch: past 1024 a batch gains no speed on a CPU and only takes memory. */
export const BATCH_TOKENS_MAX = 1024;
/** Prompts of one batch: as many short ones as still make one matrix product worth its call. */
export const BATCH_PROMPTS_MAX = 64;

/** Results of one request that wait for a slow reader. */
export const HELD_BYTES_MAX = 256 * 1024 ** 2;
/** Prompts that wait for the engine, of all callers together. */
export const WAITING_PROMPTS_MAX = 4096;
/** When a refused caller should ask again: about one batch. */
export const RETRY_AFTER_MS = 1000;

/** Models whose tables stay open: config, tensor names, digest; no weights. */
export const MODELS_OPEN_MAX = 32;
/** Registered names. */
export const MODELS_NAMED_MAX = 1024;
/** Encoded graphs kept for new plans; 40 kB each. */
export const PROGRAMS_MAX = 1024;
/** A source: a path or a hub reference. */
export const SOURCE_BYTES_MAX = 4096;
/** Of the request in a result's provenance; a longer one cannot be reproduced from it, and is left out whole. */
export const PROVENANCE_REQUEST_BYTES_MAX = 1024 * 1024;
