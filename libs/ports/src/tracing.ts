import type { Code } from '@heddle/core';

/** Where a span is, as it travels to another process: the texts of W3C Trace Context. */
export interface TraceContext {
  /** `00-<trace>-<span>-<flags>`. */
  readonly traceparent: string;
  /** What vendors add; passed on, never read. */
  readonly tracestate?: string | undefined;
}

export type SpanKind = 'internal' | 'server' | 'client' | 'producer' | 'consumer';

/** What is undefined is left out. Never a prompt, a token or a tenant: traces are read by whoever operates, and kept elsewhere. */
export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

export interface SpanSpec {
  /** One of few: `lorsa.train`, `heddle.qk.v1.QkService/StartFit`; what tells two alike apart is an attribute. */
  readonly name: string;
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
  /** What it is a part of: a span of another process; null, nothing: it begins a trace. Absent: the current span. */
  readonly parent?: TraceContext | null | undefined;
  /** What it follows from without being a part of it. */
  readonly link?: TraceContext | undefined;
}

/** How something failed, as spans say it. */
export interface SpanError {
  readonly code: Code;
  readonly message: string;
}

/** A piece of work with a beginning and an end. */
export interface Span {
  /** What goes with whatever it asks of other processes; undefined where nothing is traced. */
  readonly context: TraceContext | undefined;
  /** Under which its trace can be looked up; undefined where this one is not recorded. */
  readonly traceId: string | undefined;
  set(attributes: SpanAttributes): void;
  /** Spans that `body` begins are parts of this one, also those of its promises and streams. */
  within<T>(body: () => T): T;
  /** Once; what comes after counts for nothing. */
  end(error?: SpanError): void;
}

/** Spans, for whoever looks for where the time went: lost when nobody receives them, and nothing depends on it. */
export interface Tracing {
  begin(spec: SpanSpec): Span;
  /** Remembers the current span: what it returns begins a part of it, whoever asks and whenever. */
  prepare(spec: SpanSpec): () => Span;
}

const NO_SPAN: Span = {
  context: undefined,
  traceId: undefined,
  set: () => undefined,
  within: (body) => body(),
  end: () => undefined,
};

/** Where nothing is traced. */
export const NO_TRACING: Tracing = { begin: () => NO_SPAN, prepare: () => () => NO_SPAN };
