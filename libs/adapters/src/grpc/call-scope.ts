import type { Metadata } from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import type { CallContext, Callers, Log, Metrics } from '@heddle/ports';
import { CallRoom } from './call-room.ts';
import { callerOf } from './caller-metadata.ts';
import { whileAnswering } from './patient-clients.ts';

export interface CallScopeDeps {
  readonly log: Log;
  readonly metrics: Metrics | undefined;
  /** Present where a guard stands before the handlers: only then is a call's metadata true. */
  readonly callers: Callers | undefined;
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

  /** Opens a call; `end` closes it with the error that it failed with, if it did. One that finds no room is told to stop. */
  begin(
    method: string,
    request?: object,
  ): {
    context: CallContext;
    abort: () => void;
    end: (error?: OperationError) => void;
  } {
    const { log, metrics } = this.deps;
    const controller = new AbortController();
    const bytes = (request && this.sizes.get(request)) ?? 0;
    const refusal = this.closed ? draining() : this.room.refusal(method, bytes);
    if (refusal) controller.abort(refusal);
    const leave = this.room.enter(method, bytes);
    this.open.set(controller, method);
    metrics?.set('grpc_calls_open', this.open.size);
    const started = performance.now();
    const callLog = log.child({ method });
    const end = (error?: OperationError) => {
      if (!this.open.delete(controller)) return;
      leave();
      metrics?.set('grpc_calls_open', this.open.size);
      metrics?.add('grpc_calls_total', 1, { method, code: error?.code ?? 'ok' });
      metrics?.observe('grpc_call_seconds', (performance.now() - started) / 1000, { method });
      if (error?.code === 'internal') callLog.error(error.message, { cause: error.cause });
      if (this.open.size === 0) this.idle?.();
    };
    const context: CallContext = { signal: controller.signal, log: callLog, method };
    return { context, abort: () => controller.abort(cancelled()), end };
  }

  /** Runs what answers a call in the name of who made it; the streams that it begins, too. */
  within<T>(metadata: Metadata, body: () => T): T {
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
