import { type Code, OperationError } from '@heddle/core';

export const DONE = 0;
export const FAILED = 1;
const WRONG_USAGE = 2;
export const REFUSED = 3;
/** 128 + SIGINT. */
export const INTERRUPTED = 130;

/** What a different command line would have avoided, as far as the command line alone can tell. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** Ctrl-C was heard and the work has been told to stop. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}

/** The input was refused: the same input will be refused again. */
const REFUSALS: ReadonlySet<Code> = new Set([
  'invalid_argument',
  'not_found',
  'resource_exhausted',
  'failed_precondition',
]);

export function exitStatusOf(thrown: unknown): number {
  if (thrown instanceof UsageError) return WRONG_USAGE;
  if (thrown instanceof InterruptedError) return INTERRUPTED;
  return REFUSALS.has(OperationError.from(thrown).code) ? REFUSED : FAILED;
}

export interface ErrorDocument {
  readonly error: {
    /** gRPC's name of the code: `INVALID_ARGUMENT`. */
    readonly code: string;
    readonly message: string;
    readonly field: string | null;
    readonly details: Readonly<Record<string, string | number | boolean>>;
  };
}

export function errorDocument(thrown: unknown): ErrorDocument {
  if (thrown instanceof UsageError) return document('INVALID_ARGUMENT', thrown.message);
  if (thrown instanceof InterruptedError) return document('CANCELLED', thrown.message);
  const { code, message, field, details, retryAfterMs } = OperationError.from(thrown);
  const delay = retryAfterMs === undefined ? {} : { retry_after_ms: retryAfterMs };
  return document(code.toUpperCase(), message, field ?? null, { ...details, ...delay });
}

function document(
  code: string,
  message: string,
  field: string | null = null,
  details: ErrorDocument['error']['details'] = {},
): ErrorDocument {
  return { error: { code, message, field, details } };
}
