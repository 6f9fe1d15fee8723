import { failedPrecondition, notFound, OperationError, resourceExhausted } from '@heddle/core';

/** What the SDK and its sockets throw. */
interface S3Thrown extends Error {
  readonly code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

const FULL: ReadonlySet<string> = new Set([
  'QuotaExceeded',
  'XMinioStorageFull',
  'StorageFull',
  'InsufficientStorage',
]);

/** Names of the SDK and codes of sockets that say: not now. A wrong checksum on arrival is a broken wire. */
const PASSING =
  /Timeout|Connection|SlowDown|ServiceUnavailable|InternalError|BadDigest|Mismatch|ECONN|EPIPE|EAI_AGAIN|ENOTFOUND|EHOSTUNREACH|aborted|socket hang up/;

export function isAbsent(error: unknown): boolean {
  const { name, $metadata } = error as S3Thrown;
  return name === 'NoSuchKey' || (name !== 'NoSuchBucket' && $metadata?.httpStatusCode === 404);
}

/** What S3 says, in our codes. `what` is what could not be done. */
export function s3Error(error: unknown, what: string): unknown {
  if (error instanceof OperationError || !(error instanceof Error)) return error;
  const { name, code, message, $metadata } = error as S3Thrown;
  const status = $metadata?.httpStatusCode;
  const said = `${what}: S3 says "${name}: ${message}"`;
  if (FULL.has(name) || status === 507) {
    return resourceExhausted(`${said}; nothing was kept. Free space (heddle gc) and try again`, {
      cause: error,
    });
  }
  if (name === 'CredentialsProviderError') {
    const hint = 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what else the AWS SDK reads';
    return failedPrecondition(`${what}: no credentials for S3 (${message}): ${hint}`, {
      cause: error,
    });
  }
  if (name === 'NoSuchBucket') return failedPrecondition(said, { cause: error });
  if (isAbsent(error)) return notFound(said, { cause: error });
  if (status === 401 || status === 403) {
    return new OperationError({ code: 'permission_denied', message: said, cause: error });
  }
  const passes = PASSING.test(`${name} ${code ?? ''} ${message}`);
  if (passes || status === 429 || (status ?? 0) >= 500) {
    return new OperationError({ code: 'unavailable', message: said, cause: error });
  }
  return status === undefined ? error : failedPrecondition(said, { cause: error });
}

/** Runs what talks to S3, with its errors in our codes. */
export async function guarded<T>(what: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw s3Error(error, what);
  }
}
