import type { Code } from '@heddle/core';
import type { Span, SpanAttributes, SpanError, TraceContext } from '@heddle/ports';
import {
  type Span as ApiSpan,
  type Context,
  SpanStatusCode,
  TraceFlags,
  trace,
} from '@opentelemetry/api';
import { TEXT_CHARACTERS_MAX } from './limits.ts';
import { writeTraceContext } from './trace-context.ts';

/** Spans that may yet begin below one that has no parent in this process. */
export interface SpanBudget {
  left: number;
  missed: number;
}

interface OtelSpanOptions {
  readonly within: <T>(context: Context, body: () => T) => T;
  readonly isServer: boolean;
  /** Of the span that it was opened for: who tells what was missed. */
  readonly budget: SpanBudget | undefined;
}

/** What a server did wrong, by the conventions of RPC: for the rest it is the caller's span that failed. */
const SERVER_FAULTS: ReadonlySet<Code> = new Set<Code>([
  ...(['unknown', 'deadline_exceeded', 'unimplemented'] as const),
  ...(['internal', 'unavailable', 'data_loss'] as const),
]);

export class OtelSpan implements Span {
  readonly context: TraceContext;
  readonly traceId: string | undefined;
  private readonly span: ApiSpan;
  private readonly inside: Context;
  private readonly options: OtelSpanOptions;

  constructor(span: ApiSpan, inside: Context, options: OtelSpanOptions) {
    this.span = span;
    this.inside = inside;
    this.options = options;
    const own = span.spanContext();
    this.context = writeTraceContext(own);
    this.traceId = (own.traceFlags & TraceFlags.SAMPLED) === 0 ? undefined : own.traceId;
  }

  /** One too many: what it asks of others is a part of its parent, and is not recorded there either. */
  static unrecorded(around: Context, within: OtelSpanOptions['within']): OtelSpan {
    const parent = trace.getSpanContext(around) ?? { traceId: '', spanId: '', traceFlags: 0 };
    const span = trace.wrapSpanContext({ ...parent, traceFlags: TraceFlags.NONE });
    return new OtelSpan(span, trace.setSpan(around, span), {
      ...{ within, isServer: false, budget: undefined },
    });
  }

  set(attributes: SpanAttributes): void {
    this.span.setAttributes(attributes);
  }

  within<T>(body: () => T): T {
    return this.options.within(this.inside, body);
  }

  end(error?: SpanError): void {
    const { isServer, budget } = this.options;
    if (budget !== undefined && budget.missed > 0) {
      this.span.setAttribute('heddle.spans_not_recorded', budget.missed);
    }
    if (error !== undefined) {
      this.span.setAttribute('error.type', error.code);
      const message = error.message.slice(0, TEXT_CHARACTERS_MAX).toWellFormed();
      if (!isServer || SERVER_FAULTS.has(error.code)) {
        this.span.setStatus({ code: SpanStatusCode.ERROR, message });
      }
    }
    this.span.end();
  }
}
