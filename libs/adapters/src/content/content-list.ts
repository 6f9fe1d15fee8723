import { canonicalJson, dataLoss, invalidArgument, type Json, notFound } from '@heddle/core';
import type { BlobDigest, Blobs, ContentFile, ContentReference } from '@heddle/ports';
import { LIST_BYTES_MAX } from './limits.ts';
import { checkFiles } from './model-files.ts';

const REFERENCE = /^content:(sha256:[0-9a-f]{64})$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;

export const isContent = (reference: string): reference is ContentReference =>
  reference.startsWith('content:');

/** Errors: `invalid_argument` for what only begins like one. */
export function listDigest(reference: string): BlobDigest {
  const digest = REFERENCE.exec(reference)?.[1];
  if (digest !== undefined) return digest as BlobDigest;
  throw invalidArgument(`${JSON.stringify(reference.slice(0, 100))} is no content:sha256:…`, {
    field: 'model',
  });
}

/** The list as bytes; the same files are the same bytes, and so the same reference. Errors: those of `checkFiles`. */
export function encodeList(files: readonly ContentFile[]): Uint8Array {
  checkFiles(files);
  const wrong = files.find(({ digest }) => !DIGEST.test(digest));
  if (wrong) {
    throw invalidArgument(`${wrong.name}: its digest is no sha256: and 64 hex digits`, {
      field: 'files',
    });
  }
  const sorted = files
    .map(({ name, bytes, digest }) => ({ name, bytes, digest }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return new TextEncoder().encode(canonicalJson({ version: 1, files: sorted }));
}

/** Reads a list and checks it as if a stranger had written it: anybody who may upload can name any blob. */
export async function readList(
  blobs: Pick<Blobs, 'stat' | 'read'>,
  reference: string,
): Promise<readonly ContentFile[]> {
  const digest = listDigest(reference);
  const stat = await blobs.stat(digest);
  if (stat === undefined) {
    throw notFound(`${reference} is not in the blob store: add the model again`, {
      field: 'model',
    });
  }
  const noList = (why: string, cause?: unknown) =>
    dataLoss(`${reference} is no list of a model's files: ${why}`, { field: 'model', cause });
  if (stat.bytes > LIST_BYTES_MAX) throw noList(`${stat.bytes} bytes`);
  const parsed = parse(await blobs.read(digest));
  if (parsed?.['version'] !== 1 || !Array.isArray(parsed['files'])) throw noList('not version 1');
  const files = (parsed['files'] as Json[]).map((entry) => {
    const { name, bytes, digest } = entry as unknown as ContentFile;
    if (typeof name !== 'string' || typeof bytes !== 'number')
      throw noList('an entry lacks fields');
    return { name, bytes, digest };
  });
  encodeList(files); // the same bounds as for whoever writes one
  return files;
}

function parse(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as Record<
      string,
      unknown
    >;
  } catch {
    return undefined;
  }
}
