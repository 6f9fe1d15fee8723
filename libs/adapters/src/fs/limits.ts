/** Every number that bounds the blob directory, with the reason. */
export const BLOB_LIMITS = {
  /** What `get` hands out at once: enough to keep a disk busy, little enough for many readers. */
  chunkBytes: 1024 * 1024,
  /** A temporary file untouched this long was left by a process that died. */
  temporaryAgeMs: 3_600_000,
  /** Digests of blobs that were read once, some hundred bytes each: shards of the largest training, twice. */
  readOnceMax: 16_384,
} as const;

/** Entries of one model folder: a sharded checkpoint has hundreds of files, a home directory given by mistake has more. */
export const FOLDER_ENTRIES_MAX = 10_000;
