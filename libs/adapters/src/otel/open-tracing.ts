import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { VERSION } from '@heddle/core';
import type { Log, LogFields, Tracing } from '@heddle/ports';
import { readTracing, type TracingSettings } from './settings.ts';
import { type SpanCounts, SpanTally } from './span-tally.ts';

/** Spans that are recorded and sent. */
export interface OpenTracing extends Tracing {
  /** As of now. */
  readonly spans: SpanCounts;
  /** For every log line: `trace_id` and `span_id` of the current span, where it is recorded. */
  logFields(): LogFields;
  /** Sends what waits, for at most `FLUSH_MS`. */
  close(): Promise<void>;
}

export interface OpenTracingOptions {
  /** OpenTelemetry's own variables; certificates are read from the process's. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** What the process is called where `OTEL_SERVICE_NAME` does not say. */
  readonly serviceName: string;
  readonly log: Log;
  /** A command, and not a service: what it does is a part of the span that `TRACEPARENT` names. */
  readonly isCommand?: boolean;
}

/** Undefined where nobody asked for traces: then nothing of OpenTelemetry is loaded either. Never fails. */
export async function openTracing(options: OpenTracingOptions): Promise<OpenTracing | undefined> {
  const { environment, log } = options;
  const { settings, problems } = readTracing(environment);
  for (const problem of problems) {
    log.warn(settings === undefined ? 'nothing is traced' : 'a setting of traces is wrong', {
      problem,
    });
  }
  if (settings === undefined) return undefined;
  try {
    return await open(settings, options);
  } catch (cause) {
    log.warn('nothing is traced', { problem: 'OpenTelemetry could not be started', cause });
    return undefined;
  }
}

async function open(
  settings: TracingSettings,
  { environment, serviceName, log, isCommand }: OpenTracingOptions,
): Promise<OpenTracing> {
  const [{ OTLPTraceExporter }, { NoticingExporter }, { OtelTracing }] = await Promise.all([
    import('@opentelemetry/exporter-trace-otlp-http'),
    import('./noticing-exporter.ts'),
    import('./otel-tracing.ts'),
  ]);
  const { url, headers, timeoutMs: timeoutMillis } = settings;
  const to = shown(url);
  const sender = new OTLPTraceExporter({ url, headers: { ...headers }, timeoutMillis });
  const tally = new SpanTally();
  const exporter = new NoticingExporter(sender, tally, {
    onLost: (error) =>
      log.warn('traces cannot be sent and are lost; everything else goes on', {
        to,
        problem: error?.message,
      }),
    onSentAgain: (spansLost) => log.info('traces can be sent again', { to, spansLost }),
  });
  const traceparent = isCommand === true ? environment['TRACEPARENT'] : undefined;
  const around = traceparent && { traceparent, tracestate: environment['TRACESTATE'] };
  return new OtelTracing({
    settings,
    exporter,
    tally,
    isAway: () => exporter.isAway,
    resource: resourceOf(settings, serviceName),
    version: VERSION,
    ...(around ? { around } : {}),
  });
}

/** Who sends: what the variables say goes before what we know. */
function resourceOf(
  { resource, serviceName }: TracingSettings,
  name: string,
): Readonly<Record<string, string | number>> {
  return {
    'service.name': name,
    'service.version': VERSION,
    'service.instance.id': randomUUID(),
    'host.name': hostname(),
    'process.pid': process.pid,
    ...resource,
    ...(serviceName === undefined ? {} : { 'service.name': serviceName }),
  };
}

/** Without what may be a secret. */
function shown(url: string): string {
  const { origin, pathname } = new URL(url);
  return `${origin}${pathname}`;
}
