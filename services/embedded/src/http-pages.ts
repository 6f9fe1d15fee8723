import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { OperationError } from '@heddle/core';
import type { Caller, Log, Metrics } from '@heddle/ports';
import type { Security } from './security.ts';

export type Pages = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;

export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: Metrics;
  /** Answers what is not /metrics; false: not found. */
  readonly pages: Pages;
  readonly log: Log;
  /** Why it is not ready, for probes that speak no TLS to gRPC's health; undefined: it is. */
  readonly unready: () => string | undefined;
  /** With TLS it speaks that; with tokens, pages want one. */
  readonly security?: PageSecurity | undefined;
}

type PageSecurity = Pick<Security, 'tls' | 'tokens' | 'callers'>;

export interface RunningHttp {
  readonly url: string;
  close(): Promise<void>;
}

/** `/metrics` for Prometheus, and the explorer's pages. */
export async function serveHttp(options: HttpOptions): Promise<RunningHttp> {
  const { host, port, log } = options;
  const { server, scheme } = createHttp(options.security, (request, response) => {
    answer(options, request, response).catch((cause: unknown) => {
      log.error('a page failed', { path: request.url, cause });
      if (!response.headersSent) response.writeHead(500);
      response.end('internal error\n');
    });
  });
  const bound = await listen(server, host, port);
  return {
    url: `${scheme}://${host}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A renewed certificate is used from the next connection on. */
function createHttp(
  security: PageSecurity | undefined,
  answer: RequestListener,
): { readonly server: Server; readonly scheme: string } {
  const files = security?.tls?.files;
  if (files === undefined) return { server: createServer(answer), scheme: 'http' };
  const { cert, key } = files.current;
  const server = createTlsServer({ cert, key }, answer);
  const stop = files.onChange((renewed) =>
    server.setSecureContext({ cert: renewed.cert, key: renewed.key }),
  );
  server.on('close', stop);
  return { server, scheme: 'https' };
}

async function answer(
  { metrics, pages, security, unready }: HttpOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  response.setHeader('x-content-type-options', 'nosniff');
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    response.writeHead(405).end();
    return;
  }
  if (request.url === '/metrics') {
    response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8');
    response.end(await metrics.text());
    return;
  }
  if (request.url === '/healthz') {
    response.end('ok\n');
    return;
  }
  if (request.url === '/readyz') {
    const why = unready();
    response.writeHead(why === undefined ? 200 : 503).end(`${why ?? 'ready'}\n`);
    return;
  }
  const caller = await callerOf(request, security);
  if (caller === undefined) {
    // A browser asks its user: any name, and the token as the password.
    const realm = 'Basic realm="heddle: any name, your token as the password", charset="UTF-8"';
    response.writeHead(401, { 'www-authenticate': realm, 'content-type': 'text/plain' });
    response.end('a token is needed: as a bearer, or as the password of any user\n');
    return;
  }
  const asked = () => pages(request, response);
  if (await (security?.callers.run(caller, asked) ?? asked())) return;
  response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
}

const CLUSTER: Caller = { tenant: '', role: 'admin' };

/** Who looks at a page; undefined: nobody that may. */
async function callerOf(
  { headers }: IncomingMessage,
  security: PageSecurity | undefined,
): Promise<Caller | undefined> {
  if (security?.tokens === undefined) return security?.tls === undefined ? CLUSTER : undefined;
  const [, scheme, shown = ''] = /^(Bearer|Basic) +(\S+)$/i.exec(headers.authorization ?? '') ?? [];
  const basic = () =>
    Buffer.from(shown, 'base64')
      .toString('utf8')
      .replace(/^[^:]*:/, '');
  const token = scheme?.toLowerCase() === 'basic' ? basic() : shown;
  try {
    return token === '' ? undefined : await security.tokens.verify(token);
  } catch (thrown) {
    const error = OperationError.from(thrown);
    if (error.code === 'unauthenticated') return undefined;
    throw error;
  }
}

function listen(server: Server, host: string, port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once('error', (cause) => {
    const message = `cannot listen on ${host}:${port}: ${cause.message}`;
    reject(new OperationError({ code: 'unavailable', message, cause }));
  });
  server.listen(port, host, () => {
    const address = server.address();
    resolve(typeof address === 'object' && address !== null ? address.port : port);
  });
  return promise;
}
