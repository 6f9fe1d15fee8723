import { connect } from 'node:net';
import { stablePort } from '../cluster/stable-port.ts';

/** A port that nobody listens on; no other test gets it, and no outgoing connection. */
export const freePort = stablePort;

/** Whether something listens there now. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

/** Far more than anything takes that comes at all, on a machine that does much else. */
const PATIENCE_MS = 120_000;

/** Looks again and again until it holds; fails when the process ended or it took too long. */
export async function until(
  what: string,
  holds: () => Promise<boolean>,
  { withinMs = PATIENCE_MS, ended = () => false }: UntilOptions = {},
): Promise<void> {
  const untilMs = performance.now() + withinMs;
  while (!(await holds())) {
    if (ended()) throw new Error(`${what}: the process ended`);
    if (performance.now() > untilMs) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export interface UntilOptions {
  readonly withinMs?: number;
  readonly ended?: () => boolean;
}
