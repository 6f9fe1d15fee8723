import type { TraceContext } from '@heddle/ports';
import {
  type Context,
  createTraceState,
  isSpanContextValid,
  ROOT_CONTEXT,
  type SpanContext,
  trace,
} from '@opentelemetry/api';
import { TRACESTATE_CHARACTERS_MAX } from './limits.ts';

/** Version, trace, span, flags; a version to come may add parts, ours has none. */
const TRACEPARENT = /^([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/;

/** What a caller sent, which may be anything: undefined when it names no span. */
export function readTraceContext({
  traceparent,
  tracestate,
}: TraceContext): SpanContext | undefined {
  const [, version, traceId = '', spanId = '', flags = '', more] =
    TRACEPARENT.exec(traceparent.trim()) ?? [];
  if (version === undefined || version === 'ff' || (version === '00' && more !== undefined)) {
    return undefined;
  }
  const context = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  if (!isSpanContextValid(context)) return undefined;
  if (!tracestate || tracestate.length > TRACESTATE_CHARACTERS_MAX) return context;
  return { ...context, traceState: createTraceState(tracestate) };
}

export function writeTraceContext({
  traceId,
  spanId,
  traceFlags,
  traceState,
}: SpanContext): TraceContext {
  const flags = (traceFlags & 0xff).toString(16).padStart(2, '0');
  const tracestate = traceState?.serialize();
  return {
    traceparent: `00-${traceId}-${spanId}-${flags}`,
    ...(tracestate === undefined || tracestate === '' ? {} : { tracestate }),
  };
}

/** A context in which the given span, of another process, is the parent. */
export function contextOf(remote: TraceContext | null | undefined): Context {
  const parent = remote ? readTraceContext(remote) : undefined;
  return parent === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
}
