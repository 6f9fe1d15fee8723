import {
  type ChannelOptions,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  type CallOptions as GrpcCallOptions,
  type Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import type { CallOptions, Clients, Span, Tracing } from '@heddle/ports';
import { clientSpan, endCall, signWith } from './call-spans.ts';
import {
  type ChannelSecurity,
  callMetadata,
  checkTokenTravelsSafely,
  destinationOf,
  hostOf,
} from './channel-security.ts';
import { CONTRACTS, type Method, methodsOf } from './contracts.ts';
import { IDEMPOTENT } from './gen/idempotency.ts';
import {
  FLOW_CONTROL_WINDOW_BYTES,
  KEEPALIVE_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  LOOK_UP_AGAIN_MS,
  MESSAGE_BYTES_MAX,
  RECONNECT_FIRST_MS,
  RECONNECT_MOST_MS,
  RETRY,
  UNARY_TIMEOUT_MS,
  WHY_MS,
} from './limits.ts';
import { connectionFailure, fromServiceError } from './status.ts';
import { type Target, targetOf } from './target.ts';
import { channelCredentials, nameIndication } from './tls-credentials.ts';

export interface Channel {
  readonly clients: Clients;
  /** Resolves when the server answers. Errors: `unavailable` after the timeout. */
  ready(timeoutMs: number): Promise<void>;
  close(): void;
}

export interface ChannelConfig extends ChannelSecurity {
  /** Shared with no other channel of this process to the same address: what a load of many clients is made of. */
  readonly ownConnection?: boolean;
  /** Absent: calls leave no spans, and carry none. */
  readonly tracing?: Tracing | undefined;
}

interface Calling {
  readonly client: Client;
  /** Metadata of a call that begins now: who calls, or in whose name. */
  readonly sign: () => Metadata;
  /** A call that is asked for now: what this returns begins it. */
  readonly trace: (method: Method) => () => Span;
}

/**
 * A connection to a cluster, made when the first call needs it; to several addresses calls go in turn. Errors:
 * `invalid_argument` for what is no address, `failed_precondition` for a token that others could read on the way.
 */
export function openChannel(
  address: string | readonly string[],
  config: ChannelConfig = {},
): Channel {
  const client = openClient(address, config);
  const server = hostOf([address].flat()[0] ?? '');
  const calling: Calling = {
    client,
    sign: () => callMetadata(config),
    trace: ({ path }) => clientSpan(config.tracing, path.slice(1), server),
  };
  const clients = CONTRACTS.map((contract) => {
    const methods = methodsOf(contract).map(([name, method]) => [name, caller(method, calling)]);
    return [contract, Object.fromEntries(methods)];
  });
  return {
    clients: Object.fromEntries(clients) as Clients,
    ready: (timeoutMs) => ready(client, String(address), timeoutMs),
    close: () => client.close(),
  };
}

/** What a channel's calls go through; whoever makes them himself signs each with `callMetadata`. */
export function openClient(address: string | readonly string[], config: ChannelConfig): Client {
  const { addresses, tls } = destinationOf([address].flat(), config);
  checkTokenTravelsSafely(addresses, { ...config, tls });
  const target = targetOf(addresses);
  const own = config.ownConnection === true ? { 'grpc.use_local_subchannel_pool': 1 } : {};
  const host = hostOf(addresses[0] ?? '');
  const options = { ...channelOptions(target), ...own, ...(tls && nameIndication(host)) };
  return new Client(target.name, channelCredentials(tls, host), options);
}

export function channelOptions({ spread }: Target): ChannelOptions {
  const name = [...IDEMPOTENT].map((path) => {
    const [, service, method] = path.split('/');
    return { service, method };
  });
  return {
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    'grpc.initial_reconnect_backoff_ms': RECONNECT_FIRST_MS,
    'grpc.max_reconnect_backoff_ms': RECONNECT_MOST_MS,
    'grpc.dns_min_time_between_resolutions_ms': LOOK_UP_AGAIN_MS,
    'grpc.enable_retries': 1,
    'grpc.service_config': JSON.stringify({
      ...(spread ? { loadBalancingConfig: [{ round_robin: {} }] } : {}),
      methodConfig: [{ name, retryPolicy: RETRY }],
    }),
  };
}

function ready(client: Client, address: string, timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  client.waitForReady(Date.now() + timeoutMs, (error) => {
    if (error === undefined) return resolve();
    void whyNot(client).then((why) => {
      const message = `no heddle answers at ${address}; is \`heddle up\` running there?${why}`;
      reject(new OperationError({ code: 'unavailable', message, cause: error }));
    });
  });
  return promise;
}

/** The last failure to connect, which only a call is told: a certificate, a refusal. */
function whyNot(client: Client): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const none = () => Buffer.alloc(0);
  const path = '/grpc.health.v1.Health/Check';
  client.makeUnaryRequest(path, none, none, {}, { deadline: Date.now() + WHY_MS }, (error) => {
    const reason = connectionFailure(error?.details ?? '');
    resolve(reason === undefined ? '' : ` (${reason}${hintOf(reason)})`);
  });
  return promise;
}

/** What is likely meant by OpenSSL's and HTTP/2's words. */
function hintOf(reason: string): string {
  if (/certificate/.test(reason)) return ': is the authority that --tls-ca names its own?';
  if (/wrong version number/.test(reason)) return ': it speaks no TLS; without, it is HOST:PORT';
  const isNoHttp2 = /^(?:Failed to connect|Protocol error)/.test(reason);
  return isNoHttp2 ? ': with TLS it is https://HOST:PORT; pages have another port' : '';
}

function caller(method: Method, { client, sign, trace }: Calling) {
  if (!method.responseStream) {
    return (request: object, options: CallOptions = {}) => {
      const begin = trace(method);
      return unary(client, method, { request, metadata: sign(), begin }, options);
    };
  }
  // Signed when it is asked for, in the name of who asks; sent when it is first read, perhaps by somebody else.
  if (!method.requestStream) {
    return (request: object, options: CallOptions = {}) => {
      const metadata = sign();
      const open = (span: Span) => {
        const { path, requestSerialize: s, responseDeserialize: d } = method;
        const signed = signWith(span, metadata);
        return client.makeServerStreamRequest(path, s, d, request, signed, grpcOptions(options));
      };
      return received(trace(method), open, options.signal);
    };
  }
  return (requests: AsyncIterable<object>, options: CallOptions = {}) => {
    const metadata = sign();
    const open = (span: Span) =>
      duplex(client, method, { requests, metadata: signWith(span, metadata) }, options);
    return received(trace(method), open, options.signal);
  };
}

function grpcOptions({ timeoutMs }: CallOptions): GrpcCallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

interface Asked {
  readonly request: object;
  readonly metadata: Metadata;
  readonly begin: () => Span;
}

function unary(
  client: Client,
  method: Method,
  { request, metadata, begin }: Asked,
  options: CallOptions,
): Promise<object> {
  const { promise, resolve, reject } = Promise.withResolvers<object>();
  if (options.signal?.aborted) return Promise.reject(OperationError.from(options.signal.reason));
  const span = begin();
  const call = client.makeUnaryRequest(
    method.path,
    method.requestSerialize,
    method.responseDeserialize,
    request,
    signWith(span, metadata),
    grpcOptions({ timeoutMs: UNARY_TIMEOUT_MS, ...options }),
    (failed, response) => {
      const error = failed ? fromServiceError(failed) : undefined;
      endCall(span, error);
      if (error) reject(error);
      else resolve(response as object);
    },
  );
  const cancel = () => call.cancel();
  options.signal?.addEventListener('abort', cancel, { once: true });
  return promise.finally(() => options.signal?.removeEventListener('abort', cancel));
}

type Readable = ClientReadableStream<object> | ClientDuplexStream<object, object>;

/** The replies, read as fast as they are asked for; leaving the loop early cancels the call. */
async function* received(
  begin: () => Span,
  open: (span: Span) => Readable,
  signal: AbortSignal | undefined,
) {
  if (signal?.aborted) throw OperationError.from(signal.reason);
  const span = begin();
  const call = open(span);
  let failure: OperationError | undefined;
  const cancel = () => call.cancel();
  signal?.addEventListener('abort', cancel, { once: true });
  try {
    for await (const message of call) yield message as object;
  } catch (thrown) {
    const error = isServiceError(thrown) ? fromServiceError(thrown) : thrown;
    failure = OperationError.from(error);
    throw error;
  } finally {
    endCall(span, failure);
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
  { requests, metadata }: { readonly requests: AsyncIterable<object>; readonly metadata: Metadata },
  options: CallOptions,
): ClientDuplexStream<object, object> {
  const { path, requestSerialize: s, responseDeserialize: d } = method;
  const call = client.makeBidiStreamRequest(path, s, d, metadata, grpcOptions(options));
  send(call, requests).catch((cause) => call.destroy(OperationError.from(cause)));
  return call;
}

async function send(call: ClientDuplexStream<object, object>, requests: AsyncIterable<object>) {
  for await (const request of requests) {
    if (call.destroyed || call.writableEnded) return;
    if (call.write(request)) continue;
    await roomToWrite(call);
  }
  call.end();
}

/** Whatever ends the call also ends the wait. */
function roomToWrite(call: ClientDuplexStream<object, object>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const events = ['drain', 'close', 'error', 'end', 'status'];
  for (const event of events) call.once(event, resolve);
  return promise.finally(() => {
    for (const event of events) call.off(event, resolve);
  });
}
