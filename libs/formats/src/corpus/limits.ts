/** Bytes read at once: enough to keep a disk busy, little enough for many readers. */
export const READ_BYTES = 1024 * 1024;

/**
 * Bytes of one text document: a longer paragraph (or jsonl line, or parquet row) is cut. 16 KiB are some 4,000 tokens, more than a
 * context that activations are cached for, and a tokenizer needs 16 ms for them.
 */
export const DOCUMENT_BYTES_MAX = 16 * 1024;

/** Bytes of paragraphs that are one document of a text: some 2,000 tokens, so that windows of any usual context are full. */
export const JOINED_BYTES_MAX = 8 * 1024;

/** Documents that a text should at least have, where its paragraphs allow: the last tenth of them is held out. */
export const TEXT_DOCUMENTS = 100;

/** Bytes of one jsonl line, which must be in memory to be parsed. */
export const LINE_BYTES_MAX = 16 * 1024 * 1024;

/** Tokens of one document of ids: a book of a million words. */
export const DOCUMENT_TOKENS_MAX = 2_000_000;

/** Documents of one corpus file: more would be counted in minutes, not seconds. */
export const FILE_DOCUMENTS_MAX = 50_000_000;

/** Places of a file at which reading can begin: 4096 in 4 GiB are one a mebibyte. */
export const MARKS_MAX = 4096;

/** Bytes between two such places of a small file: some hundred tokens. */
export const MARK_BYTES_MIN = 1024;

/** Uncompressed bytes of a text column in one row group, which is decoded whole. */
export const ROW_GROUP_BYTES_MAX = 512 * 1024 * 1024;

/** Rows handed on at once: what is decoded already, in portions that leave other work its turn. */
export const ROWS_AT_ONCE = 1024;
