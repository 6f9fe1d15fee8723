import { failedPrecondition, notFound, OperationError, resourceExhausted } from '@heddle/core';
import type { BlobDigest } from '@heddle/ports';

/** What the file system says, in our codes. */
export function fileError(error: unknown, path: string): unknown {
  if (error instanceof OperationError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG':
      return resourceExhausted(
        `the disk of ${path} is full: nothing was kept. Free space (heddle gc) and try again`,
        { cause: error },
      );
    case 'EMFILE':
    case 'ENFILE':
    case 'EIO':
    case 'EBUSY':
    case 'EAGAIN':
      return new OperationError({
        code: 'unavailable',
        message: `${path} cannot be used now: ${message}`,
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
    case 'ENOTDIR':
      return failedPrecondition(`${path} cannot be written: ${message}`, { cause: error });
    default:
      return error;
  }
}

/** Runs what touches files, with its errors in our codes; a `digest` whose file is not there is `not_found`. */
export async function guarded<T>(
  path: string,
  body: () => Promise<T>,
  digest?: BlobDigest,
): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (digest !== undefined && (error as NodeJS.ErrnoException).code === 'ENOENT') {
      throw notFound(`no blob ${digest}`);
    }
    throw fileError(error, path);
  }
}
