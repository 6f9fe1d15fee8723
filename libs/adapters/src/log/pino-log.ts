import { OperationError } from '@heddle/core';
import type { Log, LogFields } from '@heddle/ports';
import { type Logger, pino, stdTimeFunctions } from 'pino';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

export interface PinoLogOptions {
  readonly level: LogLevel;
  /** Where lines go: 1 is stdout, 2 stderr, a path a file. Default: stderr, because stdout belongs to results. */
  readonly destination?: number | string;
  /** Bound to every line. */
  readonly fields?: LogFields;
  /** What a line says of the moment in which it is written: the span that it belongs to. */
  readonly current?: () => LogFields;
}

/** One JSON object a line: `{"level":"info","time":"…","msg":"…",…fields}`. */
export function pinoLog({ level, destination = 2, fields = {}, current }: PinoLogOptions): Log {
  const options = {
    level,
    base: fields,
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { cause: describeCause, error: describeError },
    ...(current === undefined ? {} : { mixin: () => ({ ...current() }) }),
  };
  // Synchronous: a line written before a crash is the one that explains it.
  return wrap(pino(options, pino.destination({ dest: destination, sync: true })));
}

/** An error's name, message and stack, to the end of its chain of causes. */
function describeCause(cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  const { name, message, stack } = cause;
  const inner = cause.cause === undefined ? {} : { cause: describeCause(cause.cause) };
  return { name, message, stack, ...inner };
}

/** What went wrong in operation is said without where in our code that was noticed; anything else with it. */
function describeError(error: unknown): unknown {
  if (!(error instanceof OperationError)) return describeCause(error);
  const { code, message, field, details, cause } = error;
  const reason = cause instanceof Error ? { cause: cause.message } : {};
  return { code, message, ...(field === undefined ? {} : { field }), details, ...reason };
}

function wrap(logger: Logger): Log {
  return {
    debug: (message, fields = {}) => logger.debug(fields, message),
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
    child: (fields) => wrap(logger.child(fields)),
  };
}
