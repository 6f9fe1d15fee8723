/** Every number that bounds the S3 adapter, with the reason. */
export const S3_LIMITS = {
  /** Of a multipart upload: at S3's 10 000 parts this bounds a blob at 156 GiB. Smaller blobs are one request. */
  partBytes: 16 * 1024 * 1024,
  /** Bytes in memory go up in one request up to this: a request that breaks off is begun again, so not all of a gigabyte. */
  wholeBytes: 128 * 1024 * 1024,
  /** Parts in memory at once for one upload. */
  partsInFlight: 2,
  /** What one copy request may move; S3's own bound is 5 GiB. */
  copyBytes: 1024 ** 3,
  /** What `get` hands out at once. */
  chunkBytes: 1024 * 1024,
  /** Tries of one request by the client, with its back-off. */
  attemptsMax: 4,
  connectMs: 5_000,
  /** A socket on which nothing moves for this long is dead. */
  idleMs: 60_000,
  /** Uploads and temporary objects older than this were left by a process that died. */
  uploadAgeMs: 24 * 3_600_000,
  /** Blobs remembered as counted in the budget, some 100 bytes each; more are counted again when they are put again. */
  countedMax: 100_000,
  /** Of unfinished uploads, a thousand each, in one start: a server that goes on listing what was ended must not keep us from starting. */
  uploadPagesMax: 100,
  /** HTTP dates name whole seconds; a blob counts as modified at the end of its second, so that gc errs on keeping. */
  secondMs: 1_000,
} as const;
