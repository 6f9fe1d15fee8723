import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import {
  dataLoss,
  failedPrecondition,
  invalidArgument,
  notFound,
  type OperationError,
  resourceExhausted,
} from '@heddle/core';
import { readSafetensors, type Safetensors } from '@heddle/formats';
import type { Invocation } from '../invocation.ts';

/** Input files are read whole: activations of a long text are tens of MB. */
const INPUT_BYTES_MAX = 2 * 2 ** 30;

/** The bytes of a file, or of standard input for `-`. Errors: `not_found`, `resource_exhausted`, naming the option. */
export async function readInput(
  invocation: Invocation,
  path: string,
  option: string,
): Promise<Uint8Array> {
  if (path === '-') return invocation.io.stdin();
  const full = resolve(invocation.io.workingDirectory, path);
  try {
    const { size } = await stat(full);
    if (size > INPUT_BYTES_MAX) throw tooLarge(path, option, size);
    return await readFile(full);
  } catch (thrown) {
    throw fileError(thrown, path, option);
  }
}

export async function readText(
  invocation: Invocation,
  path: string,
  option: string,
): Promise<string> {
  const bytes = await readInput(invocation, path, option);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalidArgument(`${path} is not UTF-8 text`, { field: option, cause });
  }
}

export async function readTensors(
  invocation: Invocation,
  path: string,
  option: string,
): Promise<Safetensors> {
  return readSafetensors(path, await readInput(invocation, path, option));
}

function tooLarge(path: string, option: string, bytes: number): OperationError {
  return resourceExhausted(`${path} has ${bytes} bytes; at most ${INPUT_BYTES_MAX} are read`, {
    field: option,
    retryable: false,
    details: { limit: INPUT_BYTES_MAX, bytes },
  });
}

/** The refusal that an error of the file system is. */
export function fileError(thrown: unknown, path: string, option: string): unknown {
  const code = thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
  const rest = { field: option, cause: thrown };
  const named = option.startsWith('HEDDLE_') ? option : `--${option}`;
  if (code === 'ENOENT' || code === 'ENOTDIR')
    return notFound(`${named}: there is no ${path}`, rest);
  if (code === 'EISDIR') return invalidArgument(`${named}: ${path} is a folder`, rest);
  if (code === 'EACCES' || code === 'EPERM') {
    return failedPrecondition(`${named}: ${path} may not be read or written`, rest);
  }
  if (code === 'ENOSPC') return resourceExhausted(`${path}: the disk is full`, rest);
  return thrown;
}

/** A file to be: nothing has its name until all of it is on disk. */
export class OutputFile {
  readonly path: string;
  private readonly shown: string;

  private constructor(path: string, shown: string) {
    this.path = path;
    this.shown = shown;
  }

  /** Looks before the work begins whether the file can be written. Errors: `not_found`, `invalid_argument`. */
  static async plan(invocation: Invocation, path: string): Promise<OutputFile> {
    const full = resolve(invocation.io.workingDirectory, path);
    const folder = await stat(dirname(full)).catch(() => undefined);
    if (!folder?.isDirectory()) {
      throw notFound(`--out: there is no folder ${dirname(full)}; make it first`, { field: 'out' });
    }
    const there = await stat(full).catch(() => undefined);
    if (there?.isDirectory()) throw invalidArgument(`--out: ${path} is a folder`, { field: 'out' });
    // The rename would put a file in the place of a device: /dev/null, for everybody on the machine.
    if (path === '-' || (there !== undefined && !there.isFile())) {
      throw invalidArgument(`--out: ${path} is no plain file; name one`, { field: 'out' });
    }
    return new OutputFile(full, path);
  }

  /** Writes under a temporary name beside the file, then renames; what fails leaves nothing behind. */
  async write(source: Uint8Array | AsyncIterable<Uint8Array>): Promise<number> {
    const temporary = `${this.path}.${randomBytes(4).toString('hex')}.part`;
    try {
      const bytes = await this.writeTo(temporary, source);
      await rename(temporary, this.path);
      return bytes;
    } catch (thrown) {
      await rm(temporary, { force: true });
      throw fileError(thrown, this.shown, 'out');
    }
  }

  private async writeTo(
    temporary: string,
    source: Uint8Array | AsyncIterable<Uint8Array>,
  ): Promise<number> {
    const file = await open(temporary, 'wx');
    let bytes = 0;
    try {
      const chunks = source instanceof Uint8Array ? [source] : source;
      for await (const chunk of chunks) {
        const { bytesWritten } = await file.write(chunk);
        if (bytesWritten !== chunk.byteLength) throw dataLoss(`${this.shown}: a short write`);
        bytes += chunk.byteLength;
      }
      await file.sync();
    } finally {
      await file.close();
    }
    return bytes;
  }
}
