import { createHash } from 'node:crypto';
import { chooseFiles, INDEX } from '@heddle/adapters/content';
import { openModelFolder } from '@heddle/adapters/hub';
import { dataLoss, OperationError } from '@heddle/core';
import type { Client, Init, ModelFolder } from '@heddle/ports';
import type {
  ActivationService,
  UploadFile,
  UploadMissing,
  UploadModelRequest,
} from '@heddle/ports/proto/activation';
import { INDEX_BYTES_MAX, UPLOAD_CHUNK_BYTES, UPLOAD_RESUMES_MAX } from './limits.ts';

export interface UploadOptions {
  readonly signal?: AbortSignal | undefined;
  /** First while files are hashed, then while they are sent: bytes so far, of all, and what is done. */
  readonly onProgress?: (done: number, total: number, what: 'hashed' | 'sent') => void;
}

/**
 * A model's folder of this machine into the blob store of a cluster, for `StartImportModel`. Only what the store lacks is sent;
 * when the connection breaks, it goes on behind what had come. Errors: `not_found` for what is no model's folder.
 */
export async function uploadModel(
  activation: Pick<Client<ActivationService>, 'UploadModel'>,
  path: string,
  options: UploadOptions = {},
): Promise<{ readonly source: string; readonly sentBytes: number }> {
  const folder = await openModelFolder(path);
  const files = await manifestOf(folder, options);
  let sentBytes = 0;
  for (let broken = 0; ; ) {
    const upload = new Upload(folder, files, options);
    try {
      const source = await upload.run(activation);
      return { source, sentBytes: sentBytes + upload.sentBytes };
    } catch (thrown) {
      const error = OperationError.from(thrown);
      const passes = error.code === 'unavailable' || error.code === 'aborted';
      sentBytes += upload.sentBytes;
      broken = upload.sentBytes > 0 ? 1 : broken + 1; // as long as bytes go through, it is worth another try
      if (!passes || options.signal?.aborted || broken > UPLOAD_RESUMES_MAX) throw thrown;
      await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs ?? 500 * broken));
    }
  }
}

/** Names, sizes and digests of what makes the model. */
async function manifestOf(
  folder: ModelFolder,
  { signal, onProgress }: UploadOptions,
): Promise<readonly UploadFile[]> {
  const index = () => folder.readText(INDEX, INDEX_BYTES_MAX);
  const names = await chooseFiles(folder.path, folder.files, index);
  const sizes = new Map<string, number>();
  for (const name of names) {
    const file = await folder.open(name);
    sizes.set(name, file.bytes);
    await file.close();
  }
  const total = [...sizes.values()].reduce((sum, bytes) => sum + bytes, 0);
  let hashed = 0;
  const files: UploadFile[] = [];
  for (const [name, bytes] of sizes) {
    const hash = createHash('sha256');
    for await (const piece of piecesOf(folder, { name, bytes }, 0)) {
      signal?.throwIfAborted();
      hash.update(piece);
      hashed += piece.length;
      onProgress?.(hashed, total, 'hashed');
    }
    files.push({ name, bytes, digest: `sha256:${hash.digest('hex')}` });
  }
  return files;
}

async function* piecesOf(
  folder: ModelFolder,
  { name, bytes }: Pick<UploadFile, 'name' | 'bytes'>,
  from: number,
): AsyncGenerator<Uint8Array> {
  const file = await folder.open(name);
  try {
    if (file.bytes !== bytes) throw changed(file.path);
    for (let at = from; at < bytes; at += UPLOAD_CHUNK_BYTES) {
      yield await file.read(at, Math.min(UPLOAD_CHUNK_BYTES, bytes - at));
    }
  } finally {
    await file.close();
  }
}

const changed = (path: string) =>
  new OperationError({
    code: 'failed_precondition',
    message: `${path} changed meanwhile: ask again`,
  });

/** One call: what is asked for is sent. */
class Upload {
  private readonly folder: ModelFolder;
  private readonly files: readonly UploadFile[];
  private readonly options: UploadOptions;
  private readonly missing = Promise.withResolvers<UploadMissing | null>();
  sentBytes = 0;

  constructor(folder: ModelFolder, files: readonly UploadFile[], options: UploadOptions) {
    this.folder = folder;
    this.files = files;
    this.options = options;
  }

  async run(activation: Pick<Client<ActivationService>, 'UploadModel'>): Promise<string> {
    let source = '';
    try {
      for await (const part of activation.UploadModel(this.requests(), {
        signal: this.options.signal,
      })) {
        if (part.missing) this.missing.resolve(part.missing);
        if (part.source) source = part.source;
      }
    } finally {
      this.missing.resolve(null); // whoever waits to send has nobody to send to
    }
    if (source === '') throw dataLoss('the upload ended before the server named it');
    return source;
  }

  private async *requests(): AsyncGenerator<Init<UploadModelRequest>> {
    yield { manifest: { files: this.files } };
    const missing = await this.missing.promise;
    if (missing === null) return;
    for (const [i, name] of missing.names.entries()) {
      const file = this.files.find((each) => each.name === name);
      if (file === undefined)
        throw dataLoss(`the server asks for ${name}, which was not announced`);
      yield { file };
      for await (const data of piecesOf(this.folder, file, missing.there[i] ?? 0)) {
        yield { data };
        this.sentBytes += data.length;
        this.options.onProgress?.(this.sentBytes, missing.bytes, 'sent');
      }
    }
  }
}
