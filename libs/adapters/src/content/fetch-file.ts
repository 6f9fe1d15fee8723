import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { dataLoss } from '@heddle/core';
import type { BlobDigest, Blobs, ContentFile } from '@heddle/ports';
import { guarded } from '../fs/file-error.ts';
import type { CheckedFile } from './cache-records.ts';
import { PIECE_BYTES } from './limits.ts';

export interface FetchOptions {
  readonly blobs: Blobs;
  /** What the record says of the file, where it is to be believed. */
  readonly checked: CheckedFile | undefined;
  readonly signal: AbortSignal;
  readonly link?: (digest: BlobDigest, path: string) => Promise<boolean>;
  readonly onFetched: (bytes: number) => void;
}

export interface FetchedFile {
  readonly checked: CheckedFile;
  /** 0: it was there. */
  readonly fetchedBytes: number;
  /** It was there, and was not what it should be. */
  readonly damaged: boolean;
}

/** One file of a content: kept if its bytes are the right ones, else fetched, hashed, and put in its place. */
export async function fetchFile(
  file: ContentFile,
  folder: string,
  options: FetchOptions,
): Promise<FetchedFile> {
  const path = join(folder, file.name);
  const found = await stat(path).catch(() => undefined);
  if (found?.size === file.bytes) {
    const believed = options.checked?.modifiedMs === found.mtimeMs;
    if (believed || (await hashOf(path)) === file.digest) {
      return { checked: { ...file, modifiedMs: found.mtimeMs }, fetchedBytes: 0, damaged: false };
    }
  }
  await guarded(path, () => bring(file, path, options));
  const { mtimeMs } = await stat(path);
  const checked = { ...file, modifiedMs: mtimeMs };
  return { checked, fetchedBytes: file.bytes, damaged: found !== undefined };
}

async function bring(
  { name, bytes, digest }: ContentFile,
  path: string,
  { blobs, signal, link, onFetched }: FetchOptions,
): Promise<void> {
  const temporary = `${path}.${randomUUID()}.part`;
  try {
    if (await link?.(digest, temporary)) {
      const found = await hashOf(temporary);
      if (found !== digest) throw damaged(name, digest, found);
      onFetched(bytes);
    } else {
      await copy(blobs, { name, digest }, temporary, signal, onFetched);
    }
    await rename(temporary, path);
  } catch (thrown) {
    await unlink(temporary).catch(() => undefined);
    throw thrown;
  }
}

async function copy(
  blobs: Blobs,
  { name, digest }: Pick<ContentFile, 'name' | 'digest'>,
  path: string,
  signal: AbortSignal,
  onFetched: (bytes: number) => void,
): Promise<void> {
  const hash = createHash('sha256');
  const handle = await open(path, 'wx', 0o640);
  try {
    for await (const chunk of blobs.get(digest)) {
      signal.throwIfAborted();
      hash.update(chunk);
      for (let at = 0; at < chunk.length; ) {
        at += (await handle.write(chunk, at, chunk.length - at)).bytesWritten;
      }
      onFetched(chunk.length);
    }
    await handle.sync(); // the record that vouches for it must not come to disk before it
  } finally {
    await handle.close();
  }
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest) throw damaged(name, digest, found);
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: PIECE_BYTES })) {
    hash.update(chunk as Buffer);
  }
  return `sha256:${hash.digest('hex')}`;
}

const damaged = (name: string, digest: string, found: string) =>
  dataLoss(`${name}: the blob store gave bytes of ${found} for ${digest}: add the model again`, {
    field: 'model',
  });
