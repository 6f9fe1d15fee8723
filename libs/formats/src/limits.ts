/**
 * Bytes of a safetensors header. The reference library's own cap: past it a file of zeros with a huge first number would
 * make a reader allocate whatever the attacker wrote there.
 */
export const HEADER_BYTES_MAX = 100_000_000;

/** Axes of one tensor. Real checkpoints have at most five; a long list of ones would cost time for nothing. */
export const TENSOR_AXES_MAX = 64;

/** Nesting of a header: file → tensor → list. Deeper JSON is an attack on the parser's stack. */
export const HEADER_DEPTH_MAX = 3;

/** Characters of one JSONL line: a prompt of a million tokens fits, a file without line ends does not. */
export const JSONL_LINE_CHARS_MAX = 16 * 1024 * 1024;

/** Lines of one JSONL file: what a single request may name; larger corpora are read as shards. */
export const JSONL_LINES_MAX = 1_000_000;
