/** gRPC's codes, the only vocabulary for what can go wrong outside of our code. */
export const CODES = [
  'cancelled',
  'unknown',
  'invalid_argument',
  'deadline_exceeded',
  'not_found',
  'already_exists',
  'permission_denied',
  'resource_exhausted',
  'failed_precondition',
  'aborted',
  'out_of_range',
  'unimplemented',
  'internal',
  'unavailable',
  'data_loss',
  'unauthenticated',
] as const;

export type Code = (typeof CODES)[number];

/** Flat facts for the caller: the limit, the estimate, the offending value. Numbers stay numbers. */
export type Details = Readonly<Record<string, string | number | boolean>>;

export interface OperationErrorInit {
  readonly code: Code;
  /** One sentence: what, where, which limit, what to do. */
  readonly message: string;
  /** The request field that is to blame, in proto spelling (`prompts[2].tokens`). */
  readonly field?: string;
  /** Whether the same request can succeed later. Default: by code. */
  readonly retryable?: boolean;
  readonly retryAfterMs?: number;
  readonly details?: Details;
  /** Logged, never sent. */
  readonly cause?: unknown;
}

const RETRYABLE: ReadonlySet<Code> = new Set(['unavailable', 'aborted', 'resource_exhausted']);

/** What can happen and is not our mistake: an error that tells the caller what to do. */
export class OperationError extends Error {
  override readonly name = 'OperationError';
  readonly code: Code;
  readonly field: string | undefined;
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;
  readonly details: Details;

  constructor(init: OperationErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause });
    this.code = init.code;
    this.field = init.field;
    this.retryable = init.retryable ?? RETRYABLE.has(init.code);
    this.retryAfterMs = init.retryAfterMs;
    this.details = init.details ?? {};
  }

  /** The one funnel: whatever was thrown becomes an OperationError; a programmer error becomes `internal`. */
  static from(thrown: unknown): OperationError {
    if (thrown instanceof OperationError) return thrown;
    if (thrown instanceof Error && thrown.name === 'AbortError') {
      return new OperationError({ code: 'cancelled', message: 'cancelled', cause: thrown });
    }
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new OperationError({ code: 'internal', message, cause: thrown });
  }
}

type Rest = Omit<OperationErrorInit, 'code' | 'message'>;

export const invalidArgument = (message: string, rest: Rest = {}): OperationError =>
  new OperationError({ code: 'invalid_argument', message, ...rest });
export const notFound = (message: string, rest: Rest = {}): OperationError =>
  new OperationError({ code: 'not_found', message, ...rest });
export const resourceExhausted = (message: string, rest: Rest = {}): OperationError =>
  new OperationError({ code: 'resource_exhausted', message, ...rest });
export const failedPrecondition = (message: string, rest: Rest = {}): OperationError =>
  new OperationError({ code: 'failed_precondition', message, ...rest });
export const unimplemented = (message: string, rest: Rest = {}): OperationError =>
  new OperationError({ code: 'unimplemented', message, ...rest });
export const dataLoss = (message: string, rest: Rest = {}): OperationError =>
  new OperationError({ code: 'data_loss', message, ...rest });
