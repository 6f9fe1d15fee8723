import type { BlobDigest } from './blobs.ts';

/** Names a model's files wherever the blob store is: the digest of their list, which is a blob itself. */
export type ContentReference = `content:${BlobDigest}`;

export interface ContentFile {
  /** Plain name, as in a HuggingFace folder. */
  readonly name: string;
  readonly bytes: number;
  readonly digest: BlobDigest;
}

/** A file as it lies elsewhere. */
export interface SourceFile {
  readonly name: string;
  readonly bytes: number;
  /** What its bytes must hash to: `sha256:…`, or `git:…` (git's own SHA-1 of a blob); empty where nobody knows before. */
  readonly check: string;
}

/** A model as it lies elsewhere, pinned: asked again, it is the same bytes. Plain JSON, so that a checkpoint can hold it. */
export interface ModelSource {
  /** A folder, or `hf:OWNER/NAME@` and the commit. */
  readonly source: string;
  readonly files: readonly SourceFile[];
}

/** A place that models are downloaded from. Errors carry the remedy: `retryable` says whether asking again can help. */
export interface RemoteModels {
  /** `hf:OWNER/NAME[@REVISION]` → the same with the revision's commit. */
  pin(reference: string, signal?: AbortSignal): Promise<string>;
  /** The files of a pinned model that Heddle reads. */
  list(pinned: string, signal?: AbortSignal): Promise<ModelSource>;
  /** The bytes of a file from `offset` on; may break off, and is then asked again from where it was. */
  read(
    pinned: string,
    file: SourceFile,
    offset: number,
    signal?: AbortSignal,
  ): AsyncIterable<Uint8Array>;
}

export interface BringOptions {
  readonly signal: AbortSignal;
  /** Bytes of this file that are here by now. */
  readonly onBytes?: (bytes: number) => void;
}

export interface MissingFile {
  readonly file: ContentFile;
  /** Bytes of it that lie here already, from an upload that broke. */
  readonly there: number;
}

/** How models get into the blob store, file by file, each goes on where a broken attempt stopped. */
export interface ModelImports {
  /** As `RemoteModels.pin`; a folder or a content reference is itself. */
  pin(source: string, signal?: AbortSignal): Promise<string>;
  /** Of a pinned download or of a folder that this process sees. Errors: `not_found`; `resource_exhausted` past a bound. */
  list(pinned: string, signal?: AbortSignal): Promise<ModelSource>;
  /** Puts one file into the blob store. Errors: `data_loss` when its bytes are not what the source said. */
  bring(model: ModelSource, file: SourceFile, options: BringOptions): Promise<ContentFile>;
  /** Which of these the blob store lacks. Errors: `invalid_argument` for a list that is no model's. */
  missing(files: readonly ContentFile[]): Promise<readonly MissingFile[]>;
  /** Takes the bytes of a missing file from `there` on. Errors: `data_loss` when they are others, and then forgets them. */
  receive(
    missing: MissingFile,
    chunks: AsyncIterable<Uint8Array>,
    options: BringOptions,
  ): Promise<void>;
  /** Keeps the list. Errors: `failed_precondition` when the blob store lacks a file of it. */
  seal(files: readonly ContentFile[]): Promise<ContentReference>;
  /** Errors: `not_found`; `invalid_argument` for what is no reference. */
  files(reference: string): Promise<readonly ContentFile[]>;
}
