import { invalidArgument } from '@heddle/core';
import type { BlobDigest, ContentFile, Init, MissingFile, ModelImports } from '@heddle/ports';
import type { UploadModelRequest, UploadModelResponse } from '@heddle/ports/proto/activation';
import { UPLOAD_CHUNK_BYTES_MAX } from '../limits.ts';
import type { Uploads } from './uploads.ts';

type Parts = AsyncIterator<UploadModelRequest>;

/**
 * A folder of the caller's machine: the list, what is missing of it, those files, the content's name. What came of a file stays
 * when the call breaks; asked again, the rest is wanted.
 */
export async function* receiveUpload(
  imports: ModelImports,
  uploads: Pick<Uploads, 'begin'>,
  requests: AsyncIterable<UploadModelRequest>,
  signal: AbortSignal,
): AsyncGenerator<Init<UploadModelResponse>> {
  const parts = requests[Symbol.asyncIterator]();
  const first = await parts.next();
  const manifest = first.done ? undefined : first.value.manifest;
  if (!manifest) throw wrongPart('the first part is the manifest');
  const files = manifest.files.map(({ name, bytes, digest }): ContentFile => {
    return { name, bytes: Number(bytes), digest: digest as BlobDigest };
  });
  const missing = await imports.missing(files);
  await uploads.begin(files); // from here on no replica's gc takes one of them
  const wanted = missing.map(({ file, there }) => file.bytes - there);
  yield {
    missing: {
      names: missing.map(({ file }) => file.name),
      bytes: wanted.reduce((sum, bytes) => sum + bytes, 0),
      there: missing.map(({ there }) => there),
    },
  };
  let received_bytes = 0;
  let next = await parts.next();
  while (!next.done) {
    const file = openedBy(next.value, missing);
    const chunks = new Chunks(parts);
    await imports.receive(file, chunks.all(), { signal });
    received_bytes += file.file.bytes - file.there;
    yield { received_bytes };
    next = chunks.next ?? (await parts.next());
  }
  yield { source: await imports.seal(files) };
}

function openedBy({ file }: UploadModelRequest, missing: readonly MissingFile[]): MissingFile {
  if (!file) throw wrongPart('data comes behind the file that it is of');
  const found = missing.find(({ file: { name } }) => name === file.name);
  if (found) return found;
  throw wrongPart(`${JSON.stringify(file.name.slice(0, 100))} is none of the missing files`);
}

/** The data of one file, up to the part that is none. */
class Chunks {
  private readonly parts: Parts;
  /** The part behind the data, once there is one. */
  next: IteratorResult<UploadModelRequest> | undefined;

  constructor(parts: Parts) {
    this.parts = parts;
  }

  async *all(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const next = await this.parts.next();
      const data = next.done ? undefined : next.value.data;
      if (data === undefined) {
        this.next = next;
        return;
      }
      if (data.length > UPLOAD_CHUNK_BYTES_MAX) {
        throw wrongPart(`data of ${data.length} bytes; at most ${UPLOAD_CHUNK_BYTES_MAX} at once`);
      }
      yield data;
    }
  }
}

const wrongPart = (message: string) => invalidArgument(`upload: ${message}`, { field: 'part' });
