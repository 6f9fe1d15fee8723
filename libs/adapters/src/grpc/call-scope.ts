import type { Metadata, StatusObject } from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import type { CallContext, Callers, Log, Metrics, Tracing } from '@heddle/ports';
import { CallRoom } from './call-room.ts';
import { endCall, serverSpan } from './call-spans.ts';
import { callerOf } from './caller-metadata.ts';
import { whileAnswering } from './patient-clients.ts';
import { toStatus } from './status.ts';

export interface CallScopeDeps {
  readonly log: Log;
  readonly metrics: Metrics | undefined;
  /** Present where a guard stands before the handlers: only then is a call's metadata true. */
  readonly callers: Callers | undefined;
  readonly tracing?: Tracing | undefined;
}

/** A call that came. */
export interface IncomingCall {
  readonly metadata: Metadata;
  /** Of a method that takes one. */
  readonly request?: object | undefined;
}

/** A call that is being answered. */
export interface OpenCall {
  readonly context: CallContext;
  readonly abort: () => void;
  /** Runs what answers it in the name of who made it, and as a part of his trace; the streams that it begins, too. */
  readonly within: <T>(body: () => T) => T;
  /** What an error tells the caller; `tookMs`, where that matters. */
  readonly statusOf: (error: OperationError, tookMs?: number) => StatusObject;
  /** Closes it, with the error that it failed with, if it did. */
  readonly end: (error?: OperationError) => void;
}

/** Calls in flight: each with its abort signal, counted and bounded, and all told to stop when the server drains. */
export class CallScopes {
  /** Sizes of requests that came and have not begun. */
  private readonly sizes = new WeakMap<object, number>();
  private readonly open = new Map<AbortController, string>();
  private readonly room: CallRoom;
  private readonly deps: CallScopeDeps;
  private idle: (() => void) | undefined;
  private closed = false;

  constructor(deps: CallScopeDeps, room: CallRoom = new CallRoom()) {
    this.deps = deps;
    this.room = room;
  }

  get size(): number {
    return this.open.size;
  }

  /** Why a request is not even decoded. */
  refusal(method: string, bytes: number): OperationError | undefined {
    return this.room.refusal(method, bytes);
  }

  /** Remembers how large a request was on the wire, for the call that it begins. */
  sized<T extends object>(request: T, bytes: number): T {
    this.sizes.set(request, bytes);
    return request;
  }

  /** Opens a call. One that finds no room is told to stop. */
  begin(method: string, { metadata, request }: IncomingCall): OpenCall {
    const { log, metrics, tracing } = this.deps;
    const controller = new AbortController();
    const bytes = (request && this.sizes.get(request)) ?? 0;
    const refusal = this.closed ? draining() : this.room.refusal(method, bytes);
    if (refusal) controller.abort(refusal);
    const leave = this.room.enter(method, bytes);
    this.open.set(controller, method);
    metrics?.set('grpc_calls_open', this.open.size);
    const started = performance.now();
    const callLog = log.child({ method });
    const span = serverSpan(tracing, method, metadata);
    const end = (error?: OperationError) => {
      if (!this.open.delete(controller)) return;
      leave();
      metrics?.set('grpc_calls_open', this.open.size);
      metrics?.add('grpc_calls_total', 1, { method, code: error?.code ?? 'ok' });
      metrics?.observe('grpc_call_seconds', (performance.now() - started) / 1000, { method });
      if (error?.code === 'internal') {
        span.within(() => callLog.error(error.message, { cause: error.cause }));
      }
      endCall(span, error);
      if (this.open.size === 0) this.idle?.();
    };
    const context: CallContext = { signal: controller.signal, log: callLog, method };
    return {
      context,
      abort: () => controller.abort(cancelled()),
      within: (body) => span.within(() => this.inNameOf(metadata, body)),
      statusOf: (error, tookMs) => toStatus(error, tookMs, span.traceId),
      end,
    };
  }

  private inNameOf<T>(metadata: Metadata, body: () => T): T {
    const { callers } = this.deps;
    return whileAnswering(() =>
      callers === undefined ? body() : callers.run(callerOf(metadata), body),
    );
  }

  /** From now on new calls are refused at once; those in flight go on. */
  refuse(): void {
    this.closed = true;
  }

  /** Tells calls to stop: all, or those of the given methods. */
  abort(which: (method: string) => boolean = () => true): void {
    for (const [controller, method] of this.open) if (which(method)) controller.abort(draining());
  }

  /** Resolves when no call is open, or the time is over. */
  async settled(timeoutMs: number): Promise<boolean> {
    if (this.open.size === 0) return true;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.idle = () => resolve(true);
    const timer = setTimeout(() => resolve(false), timeoutMs);
    return promise.finally(() => clearTimeout(timer));
  }
}

const cancelled = () =>
  new OperationError({ code: 'cancelled', message: 'the caller cancelled or went away' });
const draining = () =>
  new OperationError({ code: 'unavailable', message: 'the server is shutting down; try again' });
