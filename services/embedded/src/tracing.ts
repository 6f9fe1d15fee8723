import { type PinoLogOptions, pinoLog } from '@heddle/adapters/log';
import { openTracing, type SpanCounts } from '@heddle/adapters/otel';
import type { BringUpOptions } from '@heddle/cli';
import type { Log, Tracing } from '@heddle/ports';
import type { Config } from './config.ts';

export interface Telling {
  readonly log: Log;
  /** Undefined: nobody asked for traces, and nothing of them was loaded. */
  readonly tracing: Tracing | undefined;
  /** What became of its spans so far; undefined as `tracing` is. */
  readonly spans: SpanCounts | undefined;
  /** Sends the last spans, for a bounded time. */
  close(): Promise<void>;
}

/** The log of a process and its spans: each line says which span it was written in. */
export async function openTelling(
  options: Pick<BringUpOptions, 'log' | 'contracts' | 'frontDoor'>,
  { logLevel, openTelemetry }: Pick<Config, 'logLevel' | 'openTelemetry'>,
): Promise<Telling> {
  const lines: PinoLogOptions = {
    level: logLevel ?? (options.log ? 'info' : 'silent'),
    fields: { pid: process.pid },
  };
  const log = pinoLog(lines);
  const serviceName = nameOf(options);
  const tracing = await openTracing({ environment: openTelemetry, serviceName, log });
  if (tracing === undefined) {
    return { log, tracing, spans: undefined, close: async () => undefined };
  }
  return {
    log: pinoLog({ ...lines, current: () => tracing.logFields() }),
    tracing,
    spans: tracing.spans,
    close: () => tracing.close(),
  };
}

/** `heddle-lorsa`: a service of its own; `heddle`: several in one process. */
function nameOf({ contracts, frontDoor }: Pick<BringUpOptions, 'contracts' | 'frontDoor'>): string {
  if (frontDoor === true) return 'heddle-explorer';
  const [service, ...others] = contracts.filter((contract) => contract !== 'jobs');
  return service === undefined || others.length > 0 ? 'heddle' : `heddle-${service}`;
}
