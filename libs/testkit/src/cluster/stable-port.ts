import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Below the kernel's ephemeral range (32768): no outgoing connection takes it while its process is down. */
const FIRST = 20_000;
const LAST = 32_000;
/** Which process's tests have a port: two files of tests that run at once would draw the same one before either listens. */
const CLAIMS = join(tmpdir(), `heddle-test-ports-${process.getuid?.() ?? 0}`);
/** What a process left that was killed is removed when nobody else can be about to remove it. */
const LEFT_MS = 3_600_000;
const claimed = new Set<string>();
process.on('exit', () => {
  for (const path of claimed) rmSync(path, { force: true });
});

/** A free port that a process can come back to after it was killed. Ours until this process ends. */
export async function stablePort(): Promise<number> {
  for (let tries = 0; tries < 1000; tries++) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST));
    if (claim(join(CLAIMS, `${port}`)) && (await isFree(port))) return port;
  }
  throw new Error(`no free port from ${FIRST} to ${LAST}`);
}

/** Whether it is ours from now on; not where it is anybody's, ours included. */
function claim(path: string): boolean {
  mkdirSync(CLAIMS, { recursive: true });
  try {
    writeFileSync(path, `${process.pid}`, { flag: 'wx' });
    claimed.add(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    if (isLeft(path)) rmSync(path, { force: true });
    return false;
  }
}

function isLeft(path: string): boolean {
  try {
    if (Date.now() - statSync(path).mtimeMs < LEFT_MS) return false;
    process.kill(Number(readFileSync(path, 'utf8')), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
