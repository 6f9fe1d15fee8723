import { failedPrecondition, OperationError, resourceExhausted } from '@heddle/core';
import { JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import { AuthorizationError, PermissionViolationError } from '@nats-io/transport-node';

/** Error codes of JetStream that the client package has no names for (server/errors.json). */
export const API_CODES = {
  memoryResources: 10028,
  storageResources: 10047,
  insufficientResources: 10023,
  storeFailed: 10077,
  streamNameInUse: 10058,
  duplicateInProcess: 10158,
  consumerExists: 10148,
  replicasNotSupported: 10074,
} as const;

const FULL: readonly number[] = [
  API_CODES.memoryResources,
  API_CODES.storageResources,
  API_CODES.insufficientResources,
  API_CODES.storeFailed,
];

/** An append, push or publication that met another sequence than it expected. */
export function isWrongSequence(error: unknown): boolean {
  return (
    hasApiCode(error, JetStreamApiCodes.StreamWrongLastSequence) ||
    hasApiCode(error, JetStreamApiCodes.StreamWrongLastSequenceUnknown)
  );
}

/** A stream at one of its limits, or a server at its own. */
export function isFull(error: unknown): boolean {
  return FULL.some((code) => hasApiCode(error, code));
}

/** Whether JetStream answered with this code, also when the error is in our codes already. */
export function hasApiCode(error: unknown, code: number): boolean {
  const said = error instanceof OperationError ? error.cause : error;
  return said instanceof JetStreamApiError && said.code === code;
}

/** There is no such stream or consumer: waiting makes none, its owner does. */
export function isMissing(error: unknown): boolean {
  return (
    hasApiCode(error, JetStreamApiCodes.StreamNotFound) ||
    hasApiCode(error, JetStreamApiCodes.ConsumerNotFound)
  );
}

export function isPassing(error: unknown): boolean {
  return error instanceof OperationError && error.code === 'unavailable';
}

/** What NATS says, in our codes. `what` is what could not be done. */
export function natsError(error: unknown, what: string): unknown {
  if (error instanceof OperationError || !(error instanceof Error)) return error;
  const said = `${what}: NATS says "${error.message}"`;
  if (isFull(error)) {
    return resourceExhausted(`${said}; nothing was kept. Free space (heddle gc) and try again`, {
      cause: error,
    });
  }
  // A request that was not permitted is a request that failed, for that reason.
  const why = error.cause instanceof PermissionViolationError ? error.cause : error;
  if (why instanceof AuthorizationError || why instanceof PermissionViolationError) {
    const isStranger = why instanceof AuthorizationError;
    const hint = isStranger
      ? '; HEDDLE_NATS_USER, _PASSWORD_FILE, _CREDS or _NKEY says who we are'
      : '';
    const code = isStranger ? 'unauthenticated' : 'permission_denied';
    return new OperationError({ code, message: `${said}${hint}`, cause: error });
  }
  if (error instanceof JetStreamApiError) {
    if (error.code === API_CODES.replicasNotSupported) {
      const hint = 'several copies need servers with a `cluster` block, or HEDDLE_NATS_REPLICAS=1';
      return failedPrecondition(`${said}: ${hint}`, { cause: error });
    }
    // 5xx of JetStream is "no leader", "no quorum", "not ready"; what a crash unmade is made again: all pass.
    const again = error.code === API_CODES.duplicateInProcess || isMissing(error);
    if (error.status >= 500 || again) {
      return unavailable(said, error);
    }
    return failedPrecondition(said, { cause: error });
  }
  if (error.name === 'JetStreamNotEnabled') {
    // It may be coming up; and when it is not meant to, whoever reads this knows what to do.
    const message = `${said}: nats-server must run with JetStream (-js, or a \`jetstream\` block)`;
    const details = { answered: true };
    return new OperationError({ code: 'unavailable', message, details, cause: error });
  }
  return PASSING.has(error.name) ? unavailable(said, error) : error;
}

/** Names of the client's errors about a server that is not there now; some of its classes are not exported. */
const PASSING: ReadonlySet<string> = new Set([
  'TimeoutError',
  'NoRespondersError',
  'RequestError',
  'ConnectionError',
  'ClosedConnectionError',
  'DrainingConnectionError',
  'JetStreamStatusError',
]);

export function unavailable(message: string, cause?: unknown): OperationError {
  return new OperationError({ code: 'unavailable', message, ...(cause ? { cause } : {}) });
}
