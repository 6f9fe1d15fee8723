import { randomUUID } from 'node:crypto';
import { mkdir, readFile, rename, stat, unlink, utimes, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '@heddle/ports';
import { guarded } from '../fs/file-error.ts';
import { HEARTBEAT_MS, LOCK_POLL_MS, LOCK_STALE_MS } from './limits.ts';

/**
 * *Processes that share a folder do something one after another.* A file that says who holds it and is touched as long as that
 * one lives; who finds it untouched takes its place. Two may hold it after a freeze: what it guards is then done twice, not wrongly.
 */
export async function withFileLock<T>(
  path: string,
  clock: Clock,
  signal: AbortSignal,
  body: () => Promise<T>,
): Promise<T> {
  const mine = randomUUID();
  await guarded(path, () => mkdir(dirname(path), { recursive: true }));
  while (!(await tryLock(path, mine))) {
    signal.throwIfAborted();
    await clock.sleep(LOCK_POLL_MS, signal);
  }
  const heartbeat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, HEARTBEAT_MS);
  heartbeat.unref();
  try {
    return await body();
  } finally {
    clearInterval(heartbeat);
    // Whoever took our place while we were frozen keeps it.
    if ((await readFile(path, 'utf8').catch(() => '')) === mine) {
      await unlink(path).catch(() => undefined);
    }
  }
}

/** Whether anybody alive holds it. */
export async function isLocked(path: string): Promise<boolean> {
  return (await ageMs(path)) < LOCK_STALE_MS;
}

async function tryLock(path: string, mine: string): Promise<boolean> {
  try {
    await writeFile(path, mine, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      return guarded(path, () => Promise.reject(error));
    }
  }
  const age = await ageMs(path);
  if (age < LOCK_STALE_MS || age === Number.POSITIVE_INFINITY) return false;
  const aside = `${path}.${mine}`; // of two who find it stale, one can rename it
  await rename(path, aside).then(
    () => unlink(aside),
    () => undefined,
  );
  return false; // and all begin again
}

/** Infinite where there is none. */
async function ageMs(path: string): Promise<number> {
  const found = await stat(path).catch(() => undefined);
  return found === undefined ? Number.POSITIVE_INFINITY : Date.now() - found.mtimeMs;
}
