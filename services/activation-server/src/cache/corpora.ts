import { createHash } from 'node:crypto';
import { OperationError } from '@heddle/core';
import {
  type CorpusFile,
  type CorpusPlace,
  type FileIndex,
  indexCorpusFile,
  readDocuments,
} from '@heddle/formats';
import type { BlobDigest, Blobs, Hub } from '@heddle/ports';
import { CORPORA_MAX } from '../limits.ts';
import { aboutCorpus, type ListedFile, listCorpus, promptsFile } from './list-corpus.ts';

/** What is read: a path, or prompts that a request brought and a blob keeps. */
export type CorpusSource = { readonly path: string } | { readonly prompts: BlobDigest };

export interface IndexedFile extends FileIndex {
  readonly listed: ListedFile;
}

/** A corpus that was read once: its digest follows from the bytes of its files in their order. */
export interface IndexedCorpus {
  readonly digest: BlobDigest;
  readonly files: readonly IndexedFile[];
  readonly bytes: number;
  readonly documents: number;
}

export interface CorporaDeps {
  readonly hub: Hub;
  readonly blobs: Pick<Blobs, 'read'>;
  /** Other replicas work on the same jobs: who takes a task must see the corpus too. */
  readonly shared?: boolean;
}

/** Indexes corpora, each once for as long as its files are the same by size and time. */
export class Corpora {
  private readonly hub: Hub;
  private readonly blobs: Pick<Blobs, 'read'>;
  private readonly shared: boolean;
  private readonly kept = new Map<string, Promise<IndexedCorpus>>();

  constructor(deps: CorporaDeps) {
    this.hub = deps.hub;
    this.blobs = deps.blobs;
    this.shared = deps.shared ?? false;
  }

  /** Errors: those of listing and of indexing, with field `corpus`. */
  async open(source: CorpusSource): Promise<IndexedCorpus> {
    const prompts = 'prompts' in source;
    const files = prompts
      ? [promptsFile(await this.blobs.read(source.prompts))]
      : await this.list(source.path);
    const sizes = files.map(({ name, bytes, modifiedMs }) => [name, bytes, modifiedMs]);
    const key = JSON.stringify([source, sizes]);
    const known = this.kept.get(key) ?? indexCorpus(files, prompts);
    this.kept.delete(key);
    this.kept.set(key, known);
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= CORPORA_MAX) break;
      this.kept.delete(oldest);
    }
    known.catch(() => this.kept.get(key) === known && this.kept.delete(key));
    return known;
  }

  private async list(path: string): Promise<readonly ListedFile[]> {
    try {
      return await listCorpus(this.hub, path);
    } catch (thrown) {
      throw this.shared ? unseenHere(path, OperationError.from(thrown)) : thrown;
    }
  }
}

/** A path is a promise that all replicas see the same there. */
function unseenHere(path: string, error: OperationError): OperationError {
  const { code } = error;
  if (code !== 'not_found' && code !== 'permission_denied') return error;
  const what = code === 'not_found' ? 'no such file or folder' : 'may not be read';
  return new OperationError({
    code,
    message: `${path}: ${what} on this replica of the activation service; each replica must see a corpus under the same path, on a volume that they share`,
    field: 'corpus',
    cause: error,
  });
}

async function indexCorpus(
  files: readonly ListedFile[],
  byDocuments: boolean,
): Promise<IndexedCorpus> {
  const indexed: IndexedFile[] = [];
  const hash = createHash('sha256');
  try {
    for (const listed of files) {
      const { index, digest } = await indexFile(listed, byDocuments);
      hash.update(`${listed.format} ${listed.bytes} ${digest}\n`);
      indexed.push({ ...index, listed });
    }
  } catch (thrown) {
    throw aboutCorpus(thrown);
  }
  const total = (of: (file: IndexedFile) => number): number =>
    indexed.reduce((sum, file) => sum + of(file), 0);
  return {
    digest: `sha256:${hash.digest('hex')}`,
    files: withHeldOutFiles(indexed),
    bytes: total(({ weight }) => weight),
    documents: total(({ documents }) => documents),
  };
}

/** Chunks of a file that is hashed on its own. */
const CHUNK_BYTES = 1024 * 1024;

async function indexFile(
  listed: ListedFile,
  byDocuments: boolean,
): Promise<{ readonly index: FileIndex; readonly digest: string }> {
  const { name, format } = listed;
  const source = await listed.open();
  try {
    const hash = createHash('sha256');
    const file = { name, format, source };
    const index = await indexCorpusFile(file, (bytes) => hash.update(bytes));
    if (format === 'parquet') {
      for (let at = 0; at < source.bytes; at += CHUNK_BYTES) {
        hash.update(await source.read(at, Math.min(CHUNK_BYTES, source.bytes - at)));
      }
    }
    const heldOut = byDocuments ? await lastTenth(index, file) : index.heldOut;
    return { index: { ...index, heldOut }, digest: hash.digest('hex') };
  } finally {
    await source.close();
  }
}

/** Of prompts: where the last tenth of them begins, by number. */
async function lastTenth({ size, heldOut }: FileIndex, file: CorpusFile): Promise<CorpusPlace> {
  const places: CorpusPlace[] = [];
  for await (const { at, line } of readDocuments(file, { from: { at: 0, line: 1 }, end: size })) {
    if (places.at(-1)?.at !== at) places.push({ at, line });
  }
  if (places.length < 2) return heldOut;
  return places.at(-Math.max(1, Math.floor(places.length / 10))) ?? heldOut;
}

/**
 * A file of one document has no last tenth: of all such files together, the last tenth is held out; one at least where nothing else is.
 */
function withHeldOutFiles(files: readonly IndexedFile[]): readonly IndexedFile[] {
  const single = files.filter(({ documents }) => documents === 1);
  const other = files.some(({ heldOut, size }) => heldOut.at < size);
  const least = other || single.length < 2 ? 0 : 1;
  const count = Math.max(least, Math.floor(single.length / 10));
  const heldOut = new Set(count === 0 ? [] : single.slice(-count));
  return files.map((file) =>
    heldOut.has(file) ? { ...file, heldOut: file.marks[0] ?? file.heldOut } : file,
  );
}
