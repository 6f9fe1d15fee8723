import { failedPrecondition, OperationError, resourceExhausted, unimplemented } from '@heddle/core';
import type {
  Blobs,
  BringOptions,
  Clock,
  ContentFile,
  ContentReference,
  Hub,
  MissingFile,
  ModelImports,
  ModelSource,
  RandomAccessFile,
  RemoteModels,
  SourceFile,
} from '@heddle/ports';
import { encodeList, isContent, readList } from './content-list.ts';
import { downloadFile } from './download-file.ts';
import { PIECE_BYTES, SMALL_FILE_BYTES_MAX } from './limits.ts';
import { checkFiles, chooseFiles, INDEX } from './model-files.ts';
import type { PartialFiles } from './partial-files.ts';

export interface ModelContentsDeps {
  readonly blobs: Blobs;
  readonly partials: PartialFiles;
  /** Folders that this process sees. */
  readonly folders: Hub;
  /** Who answers `hf:`; absent: nobody. */
  readonly remote?: RemoteModels;
  readonly clock: Clock;
  /** A model larger than what replicas may hold helps nobody. */
  readonly bytesMax: number;
}

/** Models into the blob store: from a hub, from a folder, from a caller's machine. */
export class ModelContents implements ModelImports {
  private readonly deps: ModelContentsDeps;

  constructor(deps: ModelContentsDeps) {
    this.deps = deps;
  }

  async pin(source: string, signal?: AbortSignal): Promise<string> {
    return source.startsWith('hf:') ? this.remote(source).pin(source, signal) : source;
  }

  async list(pinned: string, signal?: AbortSignal): Promise<ModelSource> {
    const listed = pinned.startsWith('hf:')
      ? await this.remote(pinned).list(pinned, signal)
      : await this.listFolder(pinned);
    checkFiles(listed.files);
    this.checkSize(pinned, listed.files);
    return listed;
  }

  async bring(model: ModelSource, file: SourceFile, options: BringOptions): Promise<ContentFile> {
    const { blobs, partials, clock } = this.deps;
    const { name, bytes } = file;
    if (!model.source.startsWith('hf:')) return this.bringFromFolder(model, file, options);
    const known = file.check.startsWith('sha256:')
      ? (file.check as ContentFile['digest'])
      : undefined;
    if (known && (await blobs.stat(known))?.bytes === bytes) {
      options.onBytes?.(bytes); // another model, or another revision, brought the same file
      return { name, bytes, digest: known };
    }
    const remote = this.remote(model.source);
    const digest = await downloadFile(
      { remote, partials, blobs, clock },
      model.source,
      file,
      options,
    );
    return { name, bytes, digest };
  }

  async missing(files: readonly ContentFile[]): Promise<readonly MissingFile[]> {
    encodeList(files);
    this.checkSize('the model', files);
    const missing: MissingFile[] = [];
    const asked = new Set<string>();
    for (const file of files) {
      if (asked.has(file.digest)) continue; // the same bytes under two names are sent once
      asked.add(file.digest);
      const stat = await this.deps.blobs.stat(file.digest);
      if (stat?.bytes === file.bytes) continue;
      missing.push({ file, there: await this.deps.partials.there(expectedOf(file)) });
    }
    return missing;
  }

  async receive(
    { file, there }: MissingFile,
    chunks: AsyncIterable<Uint8Array>,
    { signal, onBytes }: BringOptions,
  ): Promise<void> {
    const partial = await this.deps.partials.take(expectedOf(file));
    try {
      if (partial.bytes !== there) {
        throw new OperationError({
          code: 'aborted',
          message: `${file.name}: another upload went on with it; begin this one anew`,
        });
      }
      for await (const chunk of chunks) {
        signal.throwIfAborted();
        await partial.append(chunk);
        onBytes?.(partial.bytes);
      }
      if (partial.bytes < file.bytes) {
        throw new OperationError({
          code: 'unavailable',
          message: `${file.name}: broke off after ${partial.bytes} of ${file.bytes} bytes; send the rest`,
        });
      }
      await partial.finish(this.deps.blobs);
    } finally {
      await partial.close();
    }
  }

  async seal(files: readonly ContentFile[]): Promise<ContentReference> {
    const [lost] = await this.missing(files);
    if (lost) {
      throw failedPrecondition(`the blob store lacks ${lost.file.name} (${lost.file.digest})`, {
        field: 'source',
      });
    }
    const { digest } = await this.deps.blobs.put(encodeList(files));
    return `content:${digest}`;
  }

  files(reference: string): Promise<readonly ContentFile[]> {
    return readList(this.deps.blobs, reference);
  }

  private remote(reference: string): RemoteModels {
    if (this.deps.remote) return this.deps.remote;
    throw unimplemented(`${reference}: this process downloads nothing; name a folder`, {
      field: 'source',
    });
  }

  private async listFolder(path: string): Promise<ModelSource> {
    const folder = await this.deps.folders.open(path);
    const index = () => folder.readText(INDEX, SMALL_FILE_BYTES_MAX);
    const files: SourceFile[] = [];
    for (const name of await chooseFiles(path, folder.files, index)) {
      const file = await folder.open(name);
      await file.close();
      files.push({ name, bytes: file.bytes, check: '' });
    }
    return { source: path, files };
  }

  private async bringFromFolder(
    { source }: ModelSource,
    { name, bytes }: SourceFile,
    options: BringOptions,
  ): Promise<ContentFile> {
    const folder = await this.deps.folders.open(source);
    const file = await folder.open(name);
    try {
      if (file.bytes !== bytes) {
        throw failedPrecondition(`${file.path}: changed while it was read; ask again`, {
          field: 'source',
        });
      }
      const { digest } = await this.deps.blobs.put(piecesOf(file, options));
      return { name, bytes, digest };
    } finally {
      await file.close();
    }
  }

  private checkSize(what: string, files: readonly { readonly bytes: number }[]): void {
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    const limit = this.deps.bytesMax;
    if (bytes <= limit) return;
    throw resourceExhausted(
      `${what} has ${bytes} bytes; a replica's cache of models holds ${limit} (HEDDLE_MODELS_GIB)`,
      { field: 'source', retryable: false, details: { bytes, limit } },
    );
  }
}

const expectedOf = ({ name, bytes, digest }: ContentFile) => ({ name, bytes, check: digest });

async function* piecesOf(file: RandomAccessFile, { signal, onBytes }: BringOptions) {
  for (let at = 0; at < file.bytes; at += PIECE_BYTES) {
    signal.throwIfAborted();
    const piece = await file.read(at, Math.min(PIECE_BYTES, file.bytes - at));
    yield piece;
    onBytes?.(at + piece.length);
  }
}

export { isContent };
