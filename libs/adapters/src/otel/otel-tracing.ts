import type { LogFields, Span, SpanSpec, TraceContext, Tracing } from '@heddle/ports';
import {
  type Context,
  createContextKey,
  type Link,
  ROOT_CONTEXT,
  SpanKind,
  TraceFlags,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchSpanProcessor, type SpanExporter, TracerProvider } from '@opentelemetry/sdk-trace';
import { BoundedProcessor } from './bounded-processor.ts';
import {
  BATCH_SPANS_MAX,
  FLUSH_AWAY_MS,
  FLUSH_MS,
  SPANS_PER_ROOT_MAX,
  SPANS_WAITING_MAX,
  TEXT_CHARACTERS_MAX,
} from './limits.ts';
import { OtelSpan, type SpanBudget } from './otel-span.ts';
import { samplerOf } from './sampler.ts';
import type { TracingSettings } from './settings.ts';
import type { SpanCounts, SpanTally } from './span-tally.ts';
import { contextOf, readTraceContext } from './trace-context.ts';

export interface OtelTracingOptions {
  readonly settings: TracingSettings;
  /** It takes what it is given off `tally.waiting`. */
  readonly exporter: SpanExporter;
  readonly tally: SpanTally;
  /** Nobody receives what is sent: then the end of a process does not wait for it. */
  readonly isAway: () => boolean;
  readonly resource: Readonly<Record<string, string | number>>;
  readonly version: string;
  /** The parent of what begins outside of every span: `TRACEPARENT` of a command. */
  readonly around?: TraceContext | undefined;
}

const BUDGET = createContextKey('heddle spans of one root');

const KINDS = {
  internal: SpanKind.INTERNAL,
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;

/** Spans through OpenTelemetry's SDK, whose globals stay as they are: a process may have several of these. */
export class OtelTracing implements Tracing {
  readonly spans: SpanCounts;
  private readonly contexts = new AsyncLocalStorageContextManager();
  private readonly provider: TracerProvider;
  private readonly tracer: Tracer;
  private readonly outermost: Context;
  private readonly isAway: () => boolean;

  constructor(options: OtelTracingOptions) {
    const { settings, exporter, tally, isAway, resource, version, around } = options;
    const batches = new BatchSpanProcessor({
      exporter,
      maxQueueSize: SPANS_WAITING_MAX,
      maxExportBatchSize: BATCH_SPANS_MAX,
      scheduledDelayMillis: settings.batchDelayMs,
      exportTimeoutMillis: settings.timeoutMs,
    });
    this.provider = new TracerProvider({
      sampler: samplerOf(settings),
      resource: resourceFromAttributes({ ...resource }),
      spanLimits: { attributeValueLengthLimit: TEXT_CHARACTERS_MAX },
      spanProcessors: [new BoundedProcessor(batches, tally)],
    });
    this.tracer = this.provider.getTracer('heddle', version);
    this.outermost = contextOf(around);
    this.isAway = isAway;
    this.spans = tally;
  }

  begin(spec: SpanSpec): Span {
    return this.open(spec, this.around(spec));
  }

  prepare(spec: SpanSpec): () => Span {
    const around = this.around(spec);
    return () => this.open(spec, around);
  }

  /** What log lines say of the current span: nothing, outside of one that is recorded. */
  logFields(): LogFields {
    const current = trace.getSpanContext(this.contexts.active());
    if (current === undefined || (current.traceFlags & TraceFlags.SAMPLED) === 0) return {};
    return { trace_id: current.traceId, span_id: current.spanId };
  }

  /** Sends what waits, for a bounded time. */
  async close(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, this.isAway() ? FLUSH_AWAY_MS : FLUSH_MS);
    const sent = this.provider.shutdown().catch(() => undefined); // the exporter has told
    await Promise.race([sent, promise]).finally(() => clearTimeout(timer));
  }

  private around({ parent }: SpanSpec): Context {
    if (parent !== undefined) return contextOf(parent);
    const active = this.contexts.active();
    return active === ROOT_CONTEXT ? this.outermost : active;
  }

  private open(spec: SpanSpec, around: Context): Span {
    const within = <T>(context: Context, body: () => T): T => this.contexts.with(context, body);
    const known = around.getValue(BUDGET) as SpanBudget | undefined;
    if (known !== undefined && known.left <= 0) {
      known.missed += 1;
      return OtelSpan.unrecorded(around, within);
    }
    const budget: SpanBudget = known ?? { left: SPANS_PER_ROOT_MAX, missed: 0 };
    budget.left -= 1;
    const options = {
      kind: KINDS[spec.kind ?? 'internal'],
      attributes: spec.attributes ?? {},
      links: linksTo(spec.link),
    };
    const span = this.tracer.startSpan(spec.name, options, around);
    const context = trace.setSpan(around, span).setValue(BUDGET, budget);
    return new OtelSpan(span, context, {
      within,
      isServer: spec.kind === 'server',
      budget: known === undefined ? budget : undefined,
    });
  }
}

function linksTo(link: TraceContext | undefined): Link[] {
  const context = link && readTraceContext(link);
  return context === undefined ? [] : [{ context }];
}
