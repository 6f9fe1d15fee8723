import { randomBytes } from 'node:crypto';
import { Server, type ServerCredentials, type ServiceDefinition } from '@grpc/grpc-js';
import { OperationError } from '@heddle/core';
import type { Callers, ContractHandlers, ContractName, Log, Metrics, Tracing } from '@heddle/ports';
import { HealthImplementation } from 'grpc-health-check';
import { bindHandlers, strictDeserializer } from './bind-handlers.ts';
import { type CallLimits, CallRoom } from './call-room.ts';
import { CallScopes } from './call-scope.ts';
import { responseSerializer } from './chunk-writer.ts';
import { CONTRACTS, isWatch, methodsOf, SERVICES } from './contracts.ts';
import { forwardContract, rawDefinition, type Upstreams } from './forward/index.ts';
import { Guard, type ServerSecurity } from './guard.ts';
import {
  ABORT_GRACE_MS,
  CONCURRENT_STREAMS_MAX,
  FLOW_CONTROL_WINDOW_BYTES,
  KEEPALIVE_TIME_MS,
  KEEPALIVE_TIMEOUT_MS,
  LAST_BYTES_MS,
  MESSAGE_BYTES_MAX,
  TLS_CONNECTION_AGE_MS,
} from './limits.ts';
import { widenReceiving } from './receive-window.ts';
import { addReflection } from './reflection.ts';
import { serverCredentials } from './tls-credentials.ts';
import { answerUnknownMethods } from './unknown-methods.ts';

export interface ServeOptions {
  readonly host: string;
  /** 0: any free one; `RunningServer.port` says which. */
  readonly port: number;
  /** What it answers from the start; `add` brings more. */
  readonly handlers?: ContractHandlers;
  readonly log: Log;
  /** The catalogue `grpcMetrics()` must be registered with it. */
  readonly metrics?: Metrics;
  /** Who may call; absent: everybody who can connect, in the cluster's own name. */
  readonly security?: ServerSecurity | undefined;
  /** Handlers run in the name of who calls. */
  readonly callers?: Callers | undefined;
  /** Absent: calls leave no spans. */
  readonly tracing?: Tracing | undefined;
  /** Told to stop, it says so to health checks this long before it takes no more calls: what a load balancer needs to hear it. */
  readonly noticeMs?: number;
  /** Contracts are added after it listens: until it is ready, one that is not there yet is UNAVAILABLE, not UNIMPLEMENTED. */
  readonly starting?: boolean;
  /** What may be open at a time; by default what `limits.ts` says. */
  readonly callLimits?: CallLimits;
}

export interface RunningServer {
  readonly host: string;
  readonly port: number;
  /** Lets the process that serves call itself, as a service of the cluster: `ChannelSecurity.key`. */
  readonly key: string;
  /** Brings contracts up and reports them as serving to health checks. */
  add(handlers: ContractHandlers): void;
  /** Answers every contract that others answer, by handing calls on to them. */
  forward(upstreams: Upstreams): void;
  /** Whether the whole process is ready (the health of the empty service name); a server that drains stays unready. */
  ready(isReady?: boolean): void;
  /** What health says of the whole process. */
  readonly isServing: boolean;
  /**
   * Health says NOT_SERVING; then clients are told to make their next calls elsewhere (GOAWAY), streams that only watch end,
   * and other calls get `graceMs` to finish, then are aborted with UNAVAILABLE and cut a second later.
   */
  close(graceMs: number): Promise<void>;
}

/** Listens. Errors: `unavailable` when the address cannot be had. */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { host, log, metrics, security, tracing } = options;
  // Where nobody is asked who he is, what a call says of its caller means nothing.
  const callers = security === undefined ? undefined : options.callers;
  const scopes = new CallScopes(
    { log, metrics, callers, tracing },
    new CallRoom(options.callLimits),
  );
  const key = randomBytes(32).toString('base64url');
  const health = new HealthImplementation({ '': 'NOT_SERVING' });
  const server = new Server({
    'grpc-node.flow_control_window': FLOW_CONTROL_WINDOW_BYTES,
    'grpc.max_receive_message_length': MESSAGE_BYTES_MAX,
    'grpc.max_concurrent_streams': CONCURRENT_STREAMS_MAX,
    'grpc.keepalive_time_ms': KEEPALIVE_TIME_MS,
    'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
    ...(security?.tls && { 'grpc.max_connection_age_ms': TLS_CONNECTION_AGE_MS }),
    ...(security && { interceptors: [new Guard({ security, key, log, metrics }).interceptor] }),
  });
  health.addToServer(server);
  addReflection(server);
  let isStarting = options.starting ?? false;
  answerUnknownMethods(server, () => isStarting);
  const port = await bind(server, options, serverCredentials(security?.tls));
  widenReceiving(server);

  let isClosing = false;
  let isServing = false;
  const added = new Set<ContractName>();
  const add = (handlers: ContractHandlers) => {
    for (const contract of CONTRACTS) {
      const methods = handlers[contract];
      if (methods === undefined || added.has(contract)) continue;
      added.add(contract);
      server.addService(withOwnCodecs(contract, scopes), bindHandlers(contract, methods, scopes));
      health.setStatus(SERVICES[contract], 'SERVING');
    }
  };
  add(options.handlers ?? {});
  return {
    host,
    port,
    key,
    add,
    forward: (upstreams) => {
      for (const contract of upstreams.contracts) {
        if (added.has(contract)) continue;
        added.add(contract);
        const forwarded = forwardContract(contract, upstreams, scopes);
        server.addService(rawDefinition(contract, scopes), forwarded);
        health.setStatus(SERVICES[contract], 'SERVING');
      }
    },
    ready: (isReady = true) => {
      isStarting &&= !isReady;
      isServing = isReady && !isClosing;
      health.setStatus('', isServing ? 'SERVING' : 'NOT_SERVING');
    },
    get isServing() {
      return isServing;
    },
    close: async (graceMs) => {
      isClosing = true;
      isServing = false;
      health.setStatus('', 'NOT_SERVING');
      for (const contract of added) health.setStatus(SERVICES[contract], 'NOT_SERVING');
      await notice(options.noticeMs ?? 0);
      scopes.refuse();
      scopes.abort(isWatch);
      const shutDown = beginShutDown(server);
      if (!(await scopes.settled(graceMs))) {
        log.warn('calls did not finish within the grace period', { calls: scopes.size, graceMs });
        scopes.abort();
        await scopes.settled(ABORT_GRACE_MS);
      }
      await shutDown.within(LAST_BYTES_MS);
    },
  };
}

/** The contract's methods with chunks that are written in place, and requests that may be no message at all. */
function withOwnCodecs(contract: ContractName, scopes: CallScopes): ServiceDefinition {
  const methods = methodsOf(contract).map(([name, method]) => {
    const responseSerialize = responseSerializer(method);
    const requestDeserialize = strictDeserializer(method, scopes);
    return [name, { ...method, responseSerialize, requestDeserialize }] as const;
  });
  return Object.fromEntries(methods);
}

function bind(
  server: Server,
  { host, port }: ServeOptions,
  credentials: ServerCredentials,
): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const address = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  server.bindAsync(address, credentials, (error, bound) => {
    if (error === null) return resolve(bound);
    const message = `cannot listen on ${address}: ${error.message}; choose another port`;
    reject(new OperationError({ code: 'unavailable', message, cause: error }));
  });
  return promise;
}

function notice(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/**
 * No new connections, and GOAWAY on those there are: their clients make no new calls here but elsewhere, while those in
 * flight are answered. `within` waits for the last bytes to leave; then health watchers and idle connections are cut.
 */
function beginShutDown(server: Server): { within(timeoutMs: number): Promise<void> } {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.tryShutdown(() => resolve());
  return {
    within(timeoutMs) {
      const timer = setTimeout(() => {
        server.forceShutdown();
        resolve();
      }, timeoutMs);
      return promise.finally(() => clearTimeout(timer));
    },
  };
}
