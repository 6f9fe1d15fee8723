/** Every number that bounds a tokenizer, and the accident that it prevents. */

/** tokenizer.json of Gemma-3, the largest in use, is 33 MB. */
export const TOKENIZER_JSON_BYTES_MAX = 64 * 1024 * 1024;

/** tokenizer_config.json and config.json are a few kB; a chat template may make them long. */
export const CONFIG_JSON_BYTES_MAX = 4 * 1024 * 1024;

/** The largest vocabularies in use have 262,144 entries; ids index an array, so that one huge id would fill memory. */
export const VOCABULARY_MAX = 1_048_576;

/** Building tables of 250,000 merges takes 0.4 s on one core; ten times that on a busy machine is still an answer. */
export const BUILD_TIMEOUT_MS = 20_000;

/** A text of 1 MB takes 1 s. A pattern that backtracks without end must not hold the thread longer than this. */
export const ENCODE_TIMEOUT_MS = 5_000;

/** Characters of one text: far above any context length, far below what would hold the thread. */
export const TEXT_CHARS_MAX = 1_000_000;

/** Levels of tokenizer.json, and of its parts within each other; files in use have six. */
export const NESTING_MAX = 16;
