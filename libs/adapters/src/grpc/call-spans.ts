import type { Metadata } from '@grpc/grpc-js';
import type { OperationError } from '@heddle/core';
import { NO_TRACING, type Span, type TraceContext, type Tracing } from '@heddle/ports';

/** W3C Trace Context, as gRPC carries it. */
const TRACEPARENT = 'traceparent';
const TRACESTATE = 'tracestate';

const UNTRACED = NO_TRACING.begin({ name: '' });
const untraced = (): Span => UNTRACED;

/** The answering of a call: a part of the caller's trace if he has one. `method` without its first slash. */
export function serverSpan(tracing: Tracing | undefined, method: string, metadata: Metadata): Span {
  if (tracing === undefined) return UNTRACED;
  const parent = traceContextOf(metadata) ?? null;
  return tracing.begin({ name: method, kind: 'server', parent, attributes: ofMethod(method) });
}

/** A call that is asked for now, in the current span, and made when what this returns is called. */
export function clientSpan(
  tracing: Tracing | undefined,
  method: string,
  serverAddress: string,
): () => Span {
  if (tracing === undefined) return untraced;
  const attributes = { ...ofMethod(method), 'server.address': serverAddress };
  return tracing.prepare({ name: method, kind: 'client', attributes });
}

/** Tells whoever is called which span he works for. */
export function signWith({ context }: Span, metadata: Metadata): Metadata {
  if (context === undefined) return metadata;
  metadata.set(TRACEPARENT, context.traceparent);
  if (context.tracestate !== undefined) metadata.set(TRACESTATE, context.tracestate);
  return metadata;
}

export function endCall(span: Span, error?: OperationError): void {
  if (span === UNTRACED) return;
  span.set({ 'rpc.status_code': error?.code.toUpperCase() ?? 'OK' });
  span.end(error);
}

function traceContextOf(metadata: Metadata): TraceContext | undefined {
  const [traceparent] = metadata.get(TRACEPARENT);
  if (typeof traceparent !== 'string') return undefined;
  const tracestate = metadata.get(TRACESTATE).join(',');
  return { traceparent, ...(tracestate === '' ? {} : { tracestate }) };
}

const ofMethod = (method: string) => ({ 'rpc.system.name': 'grpc', 'rpc.method': method });
