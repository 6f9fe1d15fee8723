import { constants, type FileHandle, lstat, open, readdir, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import {
  dataLoss,
  failedPrecondition,
  invalidArgument,
  notFound,
  OperationError,
  resourceExhausted,
} from '@heddle/core';
import type { Hub, ModelFolder, RandomAccessFile } from '@heddle/ports';
import { FOLDER_ENTRIES_MAX } from './limits.ts';

export interface FolderHubOptions {
  /** Real folders under which a reference may lie; `any` for a user's own command line, never for remote clients. */
  readonly roots: 'any' | readonly string[];
}

/** *Models that lie in folders of this machine.* See `openModelFolder` for which links are followed. */
export function folderHub({ roots }: FolderHubOptions): Hub {
  return {
    async open(reference) {
      if (reference.startsWith('hf:')) {
        throw notFound(
          `${reference} is not here yet: \`heddle model add ${reference}\` fetches it`,
          {
            field: 'model',
          },
        );
      }
      const path = await realFolder(reference);
      if (roots !== 'any') await requireUnder(path, roots, reference);
      return openModelFolder(path);
    },
  };
}

/**
 * *A model's folder*, as a HuggingFace directory or a snapshot of the hub's cache. A file is read if it is a regular file
 * of the folder itself, or the one kind of link that the cache makes: `…/snapshots/REV/x → …/blobs/HASH` of the same
 * repository. Every other link, and every name with a separator, is refused: a downloaded folder must not read our files.
 */
export async function openModelFolder(folder: string): Promise<ModelFolder> {
  const path = await realFolder(folder);
  const entries = await readdir(path, { withFileTypes: true });
  const files = entries.map(({ name }) => name);
  if (files.length > FOLDER_ENTRIES_MAX) {
    throw invalidArgument(`${path}: ${files.length} entries; a model's folder has fewer`, {
      field: 'model',
      details: { limit: FOLDER_ENTRIES_MAX },
    });
  }
  return {
    path,
    files: files.sort(),
    folders: entries
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
      .sort(),
    async readText(name, bytesMax) {
      const file = await openFile(path, name);
      try {
        if (file.bytes > bytesMax) {
          throw resourceExhausted(`${file.path}: ${file.bytes} bytes; at most ${bytesMax}`, {
            field: 'model',
            retryable: false,
            details: { limit: bytesMax, estimate: file.bytes },
          });
        }
        const bytes = await file.read(0, file.bytes);
        return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        throw invalidArgument(`${file.path}: not UTF-8`, { field: 'model', cause: error });
      } finally {
        await file.close();
      }
    },
    open: (name) => openFile(path, name),
    async realLocation(name) {
      const real = await realFile(path, name);
      return { directory: dirname(real), file: basename(real) };
    },
  };
}

async function realFolder(folder: string): Promise<string> {
  try {
    const path = await realpath(resolve(folder));
    if ((await lstat(path)).isDirectory()) return path;
  } catch (error) {
    if (errno(error) === 'EACCES') throw denied(`${folder}: not readable`, error);
    throw notFound(`${folder}: no such folder`, { field: 'model', cause: error });
  }
  throw notFound(`${folder}: not a folder; a model is a folder with config.json`, {
    field: 'model',
  });
}

async function requireUnder(path: string, roots: readonly string[], reference: string) {
  for (const root of roots) {
    const real = await realpath(root).catch(() => undefined);
    if (real !== undefined && (path === real || path.startsWith(real + sep))) return;
  }
  throw denied(`${reference}: outside of the folders that models may come from`);
}

/** The file behind a name, after the link policy. */
async function realFile(folder: string, name: string): Promise<string> {
  if (
    name === '' ||
    name === '.' ||
    name === '..' ||
    basename(name) !== name ||
    /[\\\0]/.test(name)
  ) {
    throw denied(`${JSON.stringify(name)} is not a plain file name`);
  }
  const path = join(folder, name);
  const stat = await lstat(path).catch((error: unknown) => {
    throw notFound(`${path}: no such file`, { field: 'model', cause: error });
  });
  if (stat.isFile()) return path;
  if (!stat.isSymbolicLink()) throw denied(`${path}: not a regular file`);
  const real = await realpath(path).catch((error: unknown) => {
    throw notFound(`${path}: a link to nothing`, { field: 'model', cause: error });
  });
  if (!isCacheBlob(folder, real) || !(await lstat(real)).isFile()) {
    throw denied(`${path}: a link that is not one of the hub's cache (snapshots/REV → blobs/HASH)`);
  }
  return real;
}

/** Whether `real` is a blob of the repository whose snapshot the folder is. */
function isCacheBlob(folder: string, real: string): boolean {
  const snapshots = dirname(folder);
  if (basename(snapshots) !== 'snapshots') return false;
  const blobs = join(dirname(snapshots), 'blobs');
  return dirname(real) === blobs && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(basename(real));
}

async function openFile(folder: string, name: string): Promise<RandomAccessFile> {
  const real = await realFile(folder, name);
  const path = join(folder, name);
  // NOFOLLOW and NONBLOCK: between the check above and this call the name may have become a link or a pipe.
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  const handle = await open(real, flags).catch((error: unknown) => {
    if (errno(error) === 'ELOOP') throw denied(`${path}: became a link`, error);
    if (errno(error) === 'EACCES') throw denied(`${path}: not readable`, error);
    if (errno(error) === 'ENOENT') throw notFound(`${path}: no such file`, { field: 'model' });
    throw failedPrecondition(`${path}: cannot be opened`, { field: 'model', cause: error });
  });
  const stat = await handle.stat();
  if (!stat.isFile()) {
    await handle.close();
    throw denied(`${path}: not a regular file`);
  }
  return {
    path,
    bytes: stat.size,
    modifiedMs: stat.mtimeMs,
    read: (offset, length) => readFully(handle, path, offset, length),
    close: () => handle.close(),
  };
}

async function readFully(
  handle: FileHandle,
  path: string,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) {
      throw dataLoss(`${path}: ends at byte ${offset + done}; ${offset + length} expected`, {
        field: 'model',
      });
    }
    done += bytesRead;
  }
  return bytes;
}

function denied(message: string, cause?: unknown): OperationError {
  return new OperationError({ code: 'permission_denied', message, field: 'model', cause });
}

function errno(error: unknown): string | undefined {
  return (error as { code?: string } | undefined)?.code;
}
