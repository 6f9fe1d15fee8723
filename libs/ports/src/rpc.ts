import type { Log } from './platform.ts';

/** What a handler knows about the call that it answers. */
export interface CallContext {
  /** Fires when the caller cancels or goes away, the deadline passes, or the server drains for too long. */
  readonly signal: AbortSignal;
  /** Bound to the method and the call. */
  readonly log: Log;
  /** `heddle.activation.v1.ActivationService/Run`. */
  readonly method: string;
}

/** A message as one writes it: every field may be left out, and then has proto's default. */
export type Init<T> = T extends Uint8Array | string | number | boolean | null | undefined
  ? T
  : T extends readonly (infer E)[]
    ? readonly Init<E>[]
    : { readonly [K in keyof T]?: Init<T[K]> | undefined };

export interface Unary<Request, Response> {
  readonly kind: 'unary';
  readonly request: Request;
  readonly response: Response;
}

export interface ServerStream<Request, Response> {
  readonly kind: 'server';
  readonly request: Request;
  readonly response: Response;
}

export interface BidiStream<Request, Response> {
  readonly kind: 'bidi';
  readonly request: Request;
  readonly response: Response;
}

type Handler<M> =
  M extends Unary<infer Q, infer A>
    ? (request: Q, call: CallContext) => Promise<Init<A>>
    : M extends ServerStream<infer Q, infer A>
      ? (request: Q, call: CallContext) => AsyncIterable<Init<A>>
      : M extends BidiStream<infer Q, infer A>
        ? (requests: AsyncIterable<Q>, call: CallContext) => AsyncIterable<Init<A>>
        : never;

/**
 * The server's side of a contract: a plain object. A method left out answers UNIMPLEMENTED; what a method throws
 * becomes a status through `OperationError.from`. A stream is pulled only as fast as the caller reads.
 */
export type Handlers<Methods> = { readonly [K in keyof Methods]?: Handler<Methods[K]> };

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until the call fails with `deadline_exceeded`. Default: none for streams, 60 s for the rest. */
  readonly timeoutMs?: number;
}

type ClientMethod<M> =
  M extends Unary<infer Q, infer A>
    ? (request: Init<Q>, options?: CallOptions) => Promise<A>
    : M extends ServerStream<infer Q, infer A>
      ? (request: Init<Q>, options?: CallOptions) => AsyncIterable<A>
      : M extends BidiStream<infer Q, infer A>
        ? (requests: AsyncIterable<Init<Q>>, options?: CallOptions) => AsyncIterable<A>
        : never;

/** The caller's side of a contract. Every failure is an OperationError with the server's code, field and details. */
export type Client<Methods> = { readonly [K in keyof Methods]: ClientMethod<Methods[K]> };
