import { createServer } from 'node:net';

/** Below the kernel's ephemeral range (32768): no outgoing connection takes it while its process is down. */
const FIRST = 20_000;
const LAST = 32_000;
const given = new Set<number>();

/** A free port that a process can come back to after it was killed. */
export async function stablePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
  throw new Error(`no free port from ${FIRST} to ${LAST}`);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
