import type {
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  ServerDuplexStream,
  ServerWritableStream,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { invalidArgument, OperationError, unimplemented } from '@heddle/core';
import type { CallContext, ContractName } from '@heddle/ports';
import type { CallScopes } from './call-scope.ts';
import { type Method, methodsOf, SERVICES } from './contracts.ts';
import { STALLED_READER_MS } from './limits.ts';
import { requestShape } from './message-shapes.ts';
import { refuseUnknown } from './unknown-fields.ts';

type UnaryHandler = (request: object, call: CallContext) => Promise<object>;
type StreamHandler = (request: unknown, call: CallContext) => AsyncIterable<object>;
type WritableCall = ServerWritableStream<object, object> | ServerDuplexStream<object, object>;

/** Plain handler objects → what grpc-js calls. Methods without a handler answer UNIMPLEMENTED. */
export function bindHandlers(
  contract: ContractName,
  handlers: object,
  scopes: CallScopes,
): UntypedServiceImplementation {
  const bound = methodsOf(contract).map(([name, method]) => {
    const path = `${SERVICES[contract]}/${name}`;
    const handler = (handlers as Record<string, unknown>)[name];
    return [name, bindMethod(method, path, handler, scopes)] as const;
  });
  return Object.fromEntries(bound);
}

function bindMethod(method: Method, path: string, handler: unknown, scopes: CallScopes) {
  if (!method.responseStream) {
    return bindUnary(path, (handler as UnaryHandler | undefined) ?? missingUnary(path), scopes);
  }
  const stream = (handler as StreamHandler | undefined) ?? missingStream(path);
  return method.requestStream ? bindBidi(path, stream, scopes) : bindServer(path, stream, scopes);
}

/** Bytes that are no message of the method's type, in the place of the message. */
class Undecodable {
  readonly reason: unknown;

  constructor(reason: unknown) {
    this.reason = reason;
  }
}

/**
 * A method's request decoder, strict and yet one that never throws: grpc-js would answer INTERNAL without a detail, which tells
 * a caller that the server is broken, while it is the request that is.
 */
export function strictDeserializer(method: Method, scopes?: CallScopes): (bytes: Buffer) => object {
  const shape = requestShape(method.path);
  const path = method.path.slice(1);
  const isUnary = !method.requestStream;
  return (bytes) => {
    try {
      const refusal = isUnary ? scopes?.refusal(path, bytes.byteLength) : undefined;
      if (refusal) throw refusal;
      refuseUnknown(bytes, shape);
      const request = method.requestDeserialize(bytes);
      return scopes?.sized(request, bytes.byteLength) ?? request;
    } catch (thrown) {
      return new Undecodable(thrown);
    }
  };
}

function decoded(request: unknown, { method }: CallContext): object {
  if (!(request instanceof Undecodable)) return request as object;
  const { reason } = request;
  if (reason instanceof OperationError) throw reason;
  const why = reason instanceof Error ? `: ${reason.message}` : '';
  throw invalidArgument(`the request is no message that ${method} takes${why}`, { cause: reason });
}

async function* decodedEach(
  requests: AsyncIterable<unknown>,
  context: CallContext,
): AsyncGenerator<object> {
  for await (const request of requests) yield decoded(request, context);
}

const notBuilt = (path: string) =>
  unimplemented(`${path} is not built yet, or not by a service that this server runs`);

const missingUnary =
  (path: string): UnaryHandler =>
  () =>
    Promise.reject(notBuilt(path));

function missingStream(path: string): StreamHandler {
  // biome-ignore lint/correctness/useYield: a stream that fails before its first part.
  return async function* () {
    throw notBuilt(path);
  };
}

function bindUnary(
  path: string,
  handler: UnaryHandler,
  scopes: CallScopes,
): handleUnaryCall<object, object> {
  return (call, callback) => {
    const { context, abort, within, statusOf, end } = scopes.begin(path, call);
    call.on('cancelled', abort);
    const beganMs = performance.now();
    Promise.resolve()
      .then(() => {
        context.signal.throwIfAborted();
        const request = decoded(call.request, context);
        return within(() => handler(request, context));
      })
      .then(
        (response) => {
          callback(null, response);
          end();
        },
        (thrown: unknown) => {
          const error = reasonOf(thrown, context);
          callback(statusOf(error, performance.now() - beganMs));
          end(error);
        },
      );
  };
}

function bindServer(
  path: string,
  handler: StreamHandler,
  scopes: CallScopes,
): handleServerStreamingCall<object, object> {
  return (call) =>
    void pump(call, path, scopes, (context) => handler(decoded(call.request, context), context));
}

function bindBidi(
  path: string,
  handler: StreamHandler,
  scopes: CallScopes,
): handleBidiStreamingCall<object, object> {
  return (call) => {
    // Reading to the end must not close the side that we still write to.
    const requests = call.iterator({ destroyOnReturn: false });
    void pump(call, path, scopes, (context) => handler(decodedEach(requests, context), context));
  };
}

/** Pulls the handler's stream no faster than the caller takes it, and ends the call with what it came to. */
async function pump(
  call: WritableCall,
  path: string,
  scopes: CallScopes,
  open: (context: CallContext) => AsyncIterable<object>,
): Promise<void> {
  const { context, abort, within, statusOf, end } = scopes.begin(path, call);
  call.on('cancelled', abort);
  try {
    context.signal.throwIfAborted();
    await within(async () => {
      for await (const part of open(context)) {
        context.signal.throwIfAborted();
        if (!call.write(part)) await drained(call, context.signal);
      }
    });
    context.signal.throwIfAborted();
    call.end();
    end();
  } catch (thrown) {
    const error = reasonOf(thrown, context);
    call.emit('error', statusOf(error));
    end(error);
  }
}

/** What a call ended with. One that was told to stop failed for that reason, whatever its code threw on the way. */
function reasonOf(thrown: unknown, { signal }: CallContext): OperationError {
  return OperationError.from(signal.aborted ? signal.reason : thrown);
}

function drained(call: WritableCall, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = () => reject(signal.reason);
  if (signal.aborted) stop();
  call.once('drain', resolve);
  signal.addEventListener('abort', stop, { once: true });
  const timer = setTimeout(() => reject(stalled()), STALLED_READER_MS);
  return promise.finally(() => {
    clearTimeout(timer);
    call.off('drain', resolve);
    signal.removeEventListener('abort', stop);
  });
}

const stalled = () =>
  new OperationError({
    code: 'aborted',
    message: `nothing of the answer was taken for ${STALLED_READER_MS / 60_000} minutes; it is made no longer`,
  });
