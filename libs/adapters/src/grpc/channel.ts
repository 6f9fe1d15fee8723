import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  type CallOptions as GrpcCallOptions,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import type { CallOptions, Clients } from '@heddle/ports';
import { CONTRACTS, type Method, methodsOf } from './contracts.ts';
import { IDEMPOTENT } from './gen/idempotency.ts';
import {
  FLOW_CONTROL_WINDOW_BYTES,
  KEEPALIVE_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  MESSAGE_BYTES_MAX,
  RETRY,
  UNARY_TIMEOUT_MS,
} from './limits.ts';
import { fromServiceError } from './status.ts';

export interface Channel {
  readonly clients: Clients;
  /** Resolves when the server answers. Errors: `unavailable` after the timeout. */
  ready(timeoutMs: number): Promise<void>;
  close(): void;
}

export interface ChannelConfig {
  /** Shared with no other channel of this process to the same address: what a load of many clients is made of. */
  readonly ownConnection?: boolean;
}

/** A connection to a cluster, made when the first call needs it. */
export function openChannel(address: string, config: ChannelConfig = {}): Channel {
  const own = config.ownConnection === true ? { 'grpc.use_local_subchannel_pool': 1 } : {};
  const options = { ...channelOptions(), ...own };
  const client = new Client(address, credentials.createInsecure(), options);
  const clients = CONTRACTS.map((contract) => {
    const methods = methodsOf(contract).map(([name, method]) => [name, caller(client, method)]);
    return [contract, Object.fromEntries(methods)];
  });
  return {
    clients: Object.fromEntries(clients) as Clients,
    ready: (timeoutMs) => ready(client, address, timeoutMs),
    close: () => client.close(),
  };
}

function channelOptions(): ChannelOptions {
  const name = [...IDEMPOTENT].map((path) => {
    const [, service, method] = path.split('/');
    return { service, method };
  });
  return {
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.enable_retries': 1,
    'grpc.service_config': JSON.stringify({ methodConfig: [{ name, retryPolicy: RETRY }] }),
  };
}

function ready(client: Client, address: string, timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.waitForReady(Date.now() + timeoutMs, (error) => {
    if (error === undefined) return resolve();
    const message = `no heddle answers at ${address}; is \`heddle up\` running there?`;
    reject(new OperationError({ code: 'unavailable', message, cause: error }));
  });
  return promise;
}

function caller(client: Client, method: Method) {
  if (!method.responseStream) {
    return (request: object, options: CallOptions = {}) => unary(client, method, request, options);
  }
  if (!method.requestStream) {
    return (request: object, options: CallOptions = {}) =>
      received(() => {
        const { path, requestSerialize: s, responseDeserialize: d } = method;
        const call = { ...grpcOptions(options) };
        return client.makeServerStreamRequest(path, s, d, request, new Metadata(), call);
      }, options.signal);
  }
  return (requests: AsyncIterable<object>, options: CallOptions = {}) =>
    received(() => duplex(client, method, requests, options), options.signal);
}

function grpcOptions({ timeoutMs }: CallOptions): GrpcCallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function unary(
  client: Client,
  method: Method,
  request: object,
  options: CallOptions,
): Promise<object> {
  const { promise, resolve, reject } = Promise.withResolvers<object>();
  if (options.signal?.aborted) return Promise.reject(OperationError.from(options.signal.reason));
  const call = client.makeUnaryRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    new Metadata(),
    grpcOptions({ timeoutMs: UNARY_TIMEOUT_MS, ...options }),
    (error, response) => {
      if (error) reject(fromServiceError(error));
      else resolve(response as object);
    },
  );
  const cancel = () => call.cancel();
  options.signal?.addEventListener('abort', cancel, { once: true });
  return promise.finally(() => options.signal?.removeEventListener('abort', cancel));
}

type Readable = ClientReadableStream<object> | ClientDuplexStream<object, object>;

/** The replies, read as fast as they are asked for; leaving the loop early cancels the call. */
async function* received(open: () => Readable, signal: AbortSignal | undefined) {
  if (signal?.aborted) throw OperationError.from(signal.reason);
  const call = open();
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of call) yield message as object;
  } catch (thrown) {
    throw isServiceError(thrown) ? fromServiceError(thrown) : thrown;
  } finally {
    signal?.removeEventListener('abort', cancel);
    call.on('error', () => {}); // The cancellation itself would be reported as one.
    call.cancel();
  }
}

const isServiceError = (thrown: unknown): thrown is ServiceError =>
  thrown instanceof Error && 'code' in thrown && 'metadata' in thrown;

function duplex(
  client: Client,
  method: Method,
  requests: AsyncIterable<object>,
  options: CallOptions,
): ClientDuplexStream<object, object> {
  const { path, requestSerialize: s, responseDeserialize: d } = method;
  const call = client.makeBidiStreamRequest(path, s, d, new Metadata(), grpcOptions(options));
  send(call, requests).catch((cause) => call.destroy(OperationError.from(cause)));
  return call;
}

async function send(call: ClientDuplexStream<object, object>, requests: AsyncIterable<object>) {
  for await (const request of requests) {
    if (call.destroyed || call.writableEnded) return;
    if (call.write(request)) continue;
    // Whatever ends the call also ends the wait.
    await new Promise<void>((resolve) => {
      for (const event of ['drain', 'close', 'error', 'end', 'status']) call.once(event, resolve);
    });
  }
  call.end();
}
