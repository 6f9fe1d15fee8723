import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { OperationError } from '@heddle/core';
import type { Log, Metrics } from '@heddle/ports';

export type Pages = (request: IncomingMessage, response: ServerResponse) => Promise<boolean>;

export interface HttpOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: Metrics;
  /** Answers what is not /metrics; false: not found. */
  readonly pages: Pages;
  readonly log: Log;
}

export interface RunningHttp {
  readonly url: string;
  close(): Promise<void>;
}

/** `/metrics` for Prometheus, and the explorer's pages. */
export async function serveHttp(options: HttpOptions): Promise<RunningHttp> {
  const { host, port, log } = options;
  const server = createServer((request, response) => {
    answer(options, request, response).catch((cause: unknown) => {
      log.error('a page failed', { path: request.url, cause });
      if (!response.headersSent) response.writeHead(500);
      response.end('internal error\n');
    });
  });
  const bound = await listen(server, host, port);
  return {
    url: `http://${host}:${bound}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(
  { metrics, pages }: HttpOptions,
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
  if (await pages(request, response)) return;
  response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
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
