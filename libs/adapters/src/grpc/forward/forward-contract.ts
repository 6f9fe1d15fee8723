import type { EventEmitter } from 'node:events';
import type {
  CallOptions,
  ClientDuplexStream,
  ClientReadableStream,
  handleBidiStreamingCall,
  handleServerStreamingCall,
  handleUnaryCall,
  Metadata,
  ServerDuplexStream,
  ServerUnaryCall,
  ServerWritableStream,
  ServiceDefinition,
  StatusObject,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { CODES, OperationError } from '@heddle/core';
import type { ContractName } from '@heddle/ports';
import type { CallScopes } from '../call-scope.ts';
import { clientSpan, endCall, signWith } from '../call-spans.ts';
import { callMetadata, hostOf } from '../channel-security.ts';
import { type Method, methodsOf, SERVICES } from '../contracts.ts';
import { toStatus } from '../status.ts';
import { forwardedStatus, passedOn } from './forwarded-status.ts';
import type { Upstream, Upstreams } from './upstream.ts';

type Incoming =
  | ServerUnaryCall<Buffer, Buffer>
  | ServerWritableStream<Buffer, Buffer>
  | ServerDuplexStream<Buffer, Buffer>;
type Writable = ServerWritableStream<Buffer, Buffer> | ServerDuplexStream<Buffer, Buffer>;
type Outgoing = ClientReadableStream<Buffer> | ClientDuplexStream<Buffer, Buffer>;

/** What can be read about a job: all services share the journal and the blobs, also while the one that ran it is away. */
const KNOWN_TO_ALL = /JobsService\/(?:Get|List|Watch|Result|ReadArtifact)$/;

const same = (bytes: Buffer): Buffer => bytes;

/** The contract's methods, whose messages stay the bytes that they came as. */
export function rawDefinition(contract: ContractName, scopes: CallScopes): ServiceDefinition {
  const methods = methodsOf(contract).map(([name, method]) => {
    const requestDeserialize = (bytes: Buffer) => scopes.sized(bytes, bytes.length);
    return [name, { ...method, requestDeserialize, responseSerialize: same }] as const;
  });
  return Object.fromEntries(methods) as unknown as ServiceDefinition;
}

/** Hands every call of a contract on to the service that answers it, and what it answers back, message by message. */
export function forwardContract(
  contract: ContractName,
  upstreams: Upstreams,
  scopes: CallScopes,
): UntypedServiceImplementation {
  const bound = methodsOf(contract).map(([name, method]) => {
    const forwarder = new Forwarder(method, `${SERVICES[contract]}/${name}`, { upstreams, scopes });
    const choose = (request?: Buffer): Upstream =>
      contract === 'jobs' ? upstreams.ofJob(idIn(method, request)) : upstreams.of(contract);
    return [name, forwarder.bind(choose)] as const;
  });
  return Object.fromEntries(bound);
}

/** The job that a request names; undefined when it names none, or is none: then the service says what is wrong with it. */
function idIn(method: Method, request: Buffer | undefined): string | undefined {
  try {
    const { id } = (request ? method.requestDeserialize(request) : {}) as { readonly id?: string };
    return id;
  } catch {
    return undefined;
  }
}

interface Opened {
  readonly upstream: Upstream;
  readonly metadata: Metadata;
  readonly options: CallOptions;
  /** Fires when the caller went away, or the server drains. */
  readonly signal: AbortSignal;
  readonly end: (status: StatusObject) => void;
}

class Forwarder {
  private readonly method: Method;
  private readonly path: string;
  private readonly upstreams: Upstreams;
  private readonly scopes: CallScopes;

  constructor(
    method: Method,
    path: string,
    { upstreams, scopes }: { readonly upstreams: Upstreams; readonly scopes: CallScopes },
  ) {
    this.method = method;
    this.path = path;
    this.upstreams = upstreams;
    this.scopes = scopes;
  }

  bind(choose: (request?: Buffer) => Upstream) {
    const { requestStream, responseStream } = this.method;
    if (requestStream) return this.bidi(choose);
    return responseStream ? this.serverStream(choose) : this.unary(choose);
  }

  private unary(choose: (request: Buffer) => Upstream): handleUnaryCall<Buffer, Buffer> {
    return async (call, callback) => {
      const opened = await this.open(call, () => choose(call.request));
      const { upstream, metadata, options, signal, end } = opened;
      let response: Buffer | undefined;
      const done = (status: StatusObject) => {
        end(status);
        if (status.code !== 0) callback(status);
        else callback(null, response ?? Buffer.alloc(0), status.metadata);
      };
      if (signal.aborted) return done(told(signal));
      const { path } = this.method;
      const { client } = upstream;
      const receive = (_error: unknown, message?: Buffer) => {
        response = message;
      };
      const args = [path, same, same, call.request, metadata, options, receive] as const;
      const sent = client.makeUnaryRequest(...args);
      sent.on('metadata', (headers) => sendHeaders(call, headers));
      sent.on('status', (status) =>
        done(signal.aborted ? told(signal) : forwardedStatus(status, upstream)),
      );
      signal.addEventListener('abort', () => sent.cancel(), { once: true });
    };
  }

  private serverStream(
    choose: (request: Buffer) => Upstream,
  ): handleServerStreamingCall<Buffer, Buffer> {
    return async (call) => {
      const opened = await this.open(call, () => choose(call.request));
      if (opened.signal.aborted) return fail(call, told(opened.signal), opened);
      const { upstream, metadata, options } = opened;
      const { path } = this.method;
      const { client } = upstream;
      relay(
        client.makeServerStreamRequest(path, same, same, call.request, metadata, options),
        call,
        opened,
      );
    };
  }

  private bidi(choose: () => Upstream): handleBidiStreamingCall<Buffer, Buffer> {
    return async (call) => {
      const opened = await this.open(call, choose);
      if (opened.signal.aborted) return fail(call, told(opened.signal), opened);
      const { upstream, metadata, options } = opened;
      const sent = upstream.client.makeBidiStreamRequest(
        this.method.path,
        ...([same, same, metadata, options] as const),
      );
      relay(sent, call, opened);
      call.on('data', (message: Buffer) => {
        if (sent.destroyed || sent.write(message)) return;
        call.pause();
        sent.once('drain', () => call.resume());
      });
      call.on('end', () => sent.end());
    };
  }

  /** What a call needs to go on, when there is somebody to take it, or nobody came. */
  private async open(call: Incoming, choose: () => Upstream): Promise<Opened> {
    const { scopes, upstreams } = this;
    const { context, abort, within, end } = scopes.begin(this.path, call);
    (call as EventEmitter).on('cancelled', abort);
    const deadline = call.getDeadline();
    const { signal } = context;
    const othersKnow = KNOWN_TO_ALL.test(this.path);
    const upstream = await upstreams.reach(choose(), { othersKnow, signal });
    const { config } = upstreams;
    const there = hostOf(upstream.addresses[0] ?? '');
    const span = within(() => clientSpan(config.tracing, this.path, there)());
    return {
      upstream,
      metadata: signWith(
        span,
        within(() => callMetadata(config)),
      ),
      options: deadline === Number.POSITIVE_INFINITY ? {} : { deadline },
      signal,
      end: (status) => {
        const error = status.code === 0 ? undefined : toError(status);
        endCall(span, error);
        end(error);
      },
    };
  }
}

/** What a service streams, to the caller, no faster than he takes it. */
function relay(source: Outgoing, call: Writable, opened: Opened): void {
  const { signal, upstream, end } = opened;
  let trailers: Metadata | undefined;
  let isOver = false;
  const over = (status: StatusObject) => {
    if (isOver) return;
    isOver = true;
    if (status.code !== 0) return fail(call, status, opened);
    end(status);
    call.end(status.metadata);
  };
  source.on('metadata', (headers: Metadata) => sendHeaders(call, headers));
  source.on('data', (message: Buffer) => {
    if (isOver || call.write(message)) return;
    source.pause();
    call.once('drain', () => source.resume());
  });
  source.on('error', () => {}); // the status says the same
  let ended = false;
  const finish = () => {
    if (ended && trailers !== undefined) over({ code: 0, details: '', metadata: trailers });
  };
  // Messages may still wait for the caller when the status has come.
  source.on('end', () => {
    ended = true;
    finish();
  });
  source.on('status', (status: StatusObject) => {
    if (status.code !== 0)
      return over(signal.aborted ? told(signal) : forwardedStatus(status, upstream));
    trailers = passedOn(status.metadata);
    finish();
  });
  const stop = () => {
    source.cancel();
    over(told(signal));
  };
  signal.addEventListener('abort', stop, { once: true });
}

function fail(call: Writable, status: StatusObject, { end }: Pick<Opened, 'end'>): void {
  end(status);
  call.emit('error', status);
}

function sendHeaders(call: Incoming, headers: Metadata): void {
  const kept = passedOn(headers);
  if (Object.keys(kept.getMap()).length > 0) call.sendMetadata(kept);
}

/** Why we stopped ourselves. */
const told = (signal: AbortSignal): StatusObject => toStatus(OperationError.from(signal.reason));

/** For the count of what calls ended with. */
function toError({ code, details }: StatusObject): OperationError {
  return new OperationError({ code: CODES[code - 1] ?? 'unknown', message: details });
}
