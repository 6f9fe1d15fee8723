import { basename, dirname, join } from 'node:path';
import { invalidArgument, OperationError, resourceExhausted } from '@heddle/core';
import { type ByteSource, type CorpusFormat, corpusFormat } from '@heddle/formats';
import type { Hub, ModelFolder, RandomAccessFile } from '@heddle/ports';
import { CORPUS_BYTES_MAX, CORPUS_DEPTH_MAX, CORPUS_FILES_MAX } from '../limits.ts';

/** A file of a corpus, not open. */
export interface ListedFile {
  /** Within the corpus, as errors name it. */
  readonly name: string;
  readonly format: CorpusFormat;
  readonly bytes: number;
  /** Changes with the file, as far as its store tells. */
  readonly modifiedMs: number;
  open(): Promise<ByteSource & { close(): Promise<void> }>;
}

/** What a folder's files must end in to be text of a corpus; READMEs are about it. */
const TEXT = /\.(txt|text|md|jsonl|parquet)$/i;
const ABOUT = /^(\.|readme\b)/i;

/**
 * *The files of a corpus*: the one of that path, or those of a folder and the folders below, in the order of their names.
 * Errors: the hub's, `not_found`, and what is too much, all with field `corpus`.
 */
export async function listCorpus(hub: Hub, path: string): Promise<readonly ListedFile[]> {
  try {
    const files = (await fromFolder(hub, path)) ?? [await fromFile(hub, path)];
    const bytes = files.reduce((sum, file) => sum + file.bytes, 0);
    if (bytes <= CORPUS_BYTES_MAX) return files;
    throw resourceExhausted(
      `${path}: ${bytes} bytes; a corpus has at most ${CORPUS_BYTES_MAX}: name a part of it`,
      { retryable: false, details: { limit: CORPUS_BYTES_MAX, bytes } },
    );
  } catch (thrown) {
    throw aboutCorpus(thrown);
  }
}

/** Undefined where the path is no folder. */
async function fromFolder(hub: Hub, path: string): Promise<readonly ListedFile[] | undefined> {
  const folder = await hub.open(path).catch((thrown: unknown) => {
    if (OperationError.from(thrown).code === 'not_found') return undefined;
    throw thrown;
  });
  if (folder === undefined) return undefined;
  const files = await below(hub, folder, { prefix: '', depth: 0 });
  if (files.length > 0) return files;
  throw invalidArgument(`${path}: no file that ends in .txt, .md, .jsonl or .parquet`);
}

async function below(
  hub: Hub,
  folder: ModelFolder,
  at: { readonly prefix: string; readonly depth: number },
): Promise<readonly ListedFile[]> {
  const folders = new Set(folder.folders);
  const found: ListedFile[] = [];
  for (const name of folder.files.filter((entry) => !ABOUT.test(entry)).sort()) {
    const prefix = `${at.prefix}${name}`;
    if (folders.has(name)) {
      if (at.depth >= CORPUS_DEPTH_MAX) {
        throw invalidArgument(`${prefix}: more than ${CORPUS_DEPTH_MAX} folders within each other`);
      }
      const inner = await hub.open(join(folder.path, name));
      found.push(...(await below(hub, inner, { prefix: `${prefix}/`, depth: at.depth + 1 })));
    } else if (TEXT.test(name)) found.push(await listed(folder, name, prefix));
    if (found.length > CORPUS_FILES_MAX) {
      throw resourceExhausted(`more than ${CORPUS_FILES_MAX} files; put them together`, {
        retryable: false,
        details: { limit: CORPUS_FILES_MAX },
      });
    }
  }
  return found;
}

async function fromFile(hub: Hub, path: string): Promise<ListedFile> {
  const name = basename(path);
  const folder = await hub.open(dirname(path));
  if (folder.files.includes(name)) return listed(folder, name, name);
  throw new OperationError({ code: 'not_found', message: `${path}: no such file or folder` });
}

async function listed(folder: ModelFolder, name: string, as: string): Promise<ListedFile> {
  const open = (): Promise<RandomAccessFile> => folder.open(name);
  const file = await open();
  try {
    const { bytes, modifiedMs = 0 } = file;
    return { name: as, format: corpusFormat(name), bytes, modifiedMs, open };
  } finally {
    await file.close();
  }
}

/** The request's prompts, kept as a file of jsonl. */
export function promptsFile(bytes: Uint8Array): ListedFile {
  const read = async (offset: number, length: number): Promise<Uint8Array> =>
    bytes.subarray(offset, offset + length);
  const source = { bytes: bytes.length, read, close: async () => {} };
  const rest = { bytes: bytes.length, modifiedMs: 0, open: async () => source };
  return { name: 'prompts', format: 'jsonl', ...rest };
}

/** Whoever reads files knows nothing of requests. */
export function aboutCorpus(thrown: unknown): OperationError {
  const { code, message, retryable, retryAfterMs, details } = OperationError.from(thrown);
  return new OperationError({
    code,
    message,
    field: 'corpus',
    retryable,
    details,
    cause: thrown,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
