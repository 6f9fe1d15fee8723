import type { ServerHttp2Session } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import { FLOW_CONTROL_WINDOW_BYTES } from './limits.ts';

/** The part of a server that grpc-js keeps to itself: the HTTP/2 servers of its ports. */
interface WithListeners {
  readonly http2Servers?: Map<
    { on(event: 'session', listener: (session: ServerHttp2Session) => void): unknown },
    unknown
  >;
}

/**
 * grpc-js raises the window of what a client receives, not of what a server does: all requests of a connection would share 64 KiB
 * for each turn of the event loop. Behind a front door one connection carries everybody's requests; those that wait for the
 * window wait where no queue counts them and nobody refuses them. To be called when the server listens.
 */
export function widenReceiving(server: Server): void {
  const { http2Servers } = server as unknown as WithListeners;
  for (const listener of http2Servers?.keys() ?? []) {
    listener.on('session', (session) => session.setLocalWindowSize(FLOW_CONTROL_WINDOW_BYTES));
  }
}
