/** What names a blob: `sha256:` and 64 hex digits of its bytes. */
export type BlobDigest = `sha256:${string}`;

export interface BlobStat {
  readonly digest: BlobDigest;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** Content-addressed bytes: written whole or not at all, checked when read. */
export interface Blobs {
  /** Streams in; the blob exists only once all of it is on disk; put again, it counts as new. Errors: `resource_exhausted` on a full disk or budget. */
  put(source: AsyncIterable<Uint8Array> | Uint8Array): Promise<BlobStat>;
  /** Streams out in chunks of at most 1 MiB. Errors: `not_found`; `data_loss` when the bytes do not hash to the name. */
  get(digest: BlobDigest): AsyncIterable<Uint8Array>;
  read(digest: BlobDigest): Promise<Uint8Array>;
  stat(digest: BlobDigest): Promise<BlobStat | undefined>;
  /** Nothing happens to an absent blob, or to one put (again) since the given time: `gc` must not take what is about to be used. */
  remove(digest: BlobDigest, options?: { readonly unlessModifiedSinceMs?: number }): Promise<void>;
  list(): AsyncIterable<BlobStat>;
}
