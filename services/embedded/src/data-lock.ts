import { randomBytes } from 'node:crypto';
import { link, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { failedPrecondition, OperationError } from '@heddle/core';

const FILE = 'heddle.lock';
/** A process that is starting, or draining, is waited for this long. */
const SETTLE_MS = 60_000;
const POLL_MS = 50;

interface LockText {
  readonly pid: number;
  /** When the process began, by the kernel's clock: a pid alone comes back after a restart. */
  readonly started: string;
  /** Empty while the process is starting or ending. */
  readonly address: string;
}

/** The one process that may write to a data directory, and where it answers. */
export class DataLock {
  private readonly path: string;
  private readonly started: string;

  private constructor(path: string, started: string) {
    this.path = path;
    this.started = started;
  }

  /** Takes the directory, also from a process that has died. Errors: `aborted` when a live one has it. */
  static async acquire(directory: string): Promise<DataLock> {
    await makeDirectory(directory);
    const path = join(directory, FILE);
    const lock = new DataLock(path, await startOf(process.pid));
    for (;;) {
      if (await lock.create()) return lock;
      const there = await readLock(path);
      if (there === undefined) continue; // let go in this moment
      if (await isAlive(there)) {
        throw new OperationError({
          code: 'aborted',
          message: `${directory} is in use by process ${there.pid}`,
        });
      }
      await moveAside(path, there);
    }
  }

  /** Says where we answer; empty while we do not. */
  async announce(address: string): Promise<void> {
    const temporary = `${this.path}.${randomBytes(4).toString('hex')}`;
    await writeFile(temporary, this.text(address));
    await rename(temporary, this.path);
  }

  async release(): Promise<void> {
    await rm(this.path, { force: true });
  }

  /** Atomic with its content: a lock that can be seen can be read. */
  private async create(): Promise<boolean> {
    const temporary = `${this.path}.${randomBytes(4).toString('hex')}`;
    await writeFile(temporary, this.text(''));
    try {
      await link(temporary, this.path);
      return true;
    } catch (thrown) {
      if (codeOf(thrown) === 'EEXIST') return false;
      throw thrown;
    } finally {
      await rm(temporary, { force: true });
    }
  }

  private text(address: string): string {
    const text: LockText = { pid: process.pid, started: this.started, address };
    return `${JSON.stringify(text)}\n`;
  }
}

/** The live process that owns the directory, once it answers; undefined when there is none. */
export async function findOwner(
  directory: string,
): Promise<{ readonly pid: number; readonly address: string } | undefined> {
  const path = join(directory, FILE);
  for (const until = Date.now() + SETTLE_MS; Date.now() < until; ) {
    const there = await readLock(path);
    if (there === undefined || !(await isAlive(there))) return undefined;
    if (there.address !== '') return { pid: there.pid, address: there.address };
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  throw new OperationError({
    code: 'deadline_exceeded',
    message: `the process that owns ${directory} neither answers nor ends: see its log, or stop it`,
  });
}

async function makeDirectory(directory: string): Promise<void> {
  try {
    await makeWithParents(directory);
  } catch (cause) {
    const why = codeOf(cause) ?? String(cause);
    throw failedPrecondition(`--data: ${directory} cannot be made (${why})`, {
      field: 'data',
      cause,
    });
  }
}

/** Node's own `recursive` never comes back where a folder is there but takes no children (/proc). */
async function makeWithParents(directory: string): Promise<void> {
  const made = await makeOne(directory);
  if (made) return;
  await makeWithParents(dirname(directory));
  if (!(await makeOne(directory))) {
    throw Object.assign(new Error(`${dirname(directory)} takes no folders`), { code: 'ENOENT' });
  }
}

/** False: the parent is missing. */
async function makeOne(directory: string): Promise<boolean> {
  try {
    await mkdir(directory);
    return true;
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST' && (await stat(directory)).isDirectory()) return true;
    if (codeOf(cause) === 'ENOENT' && dirname(directory) !== directory) return false;
    throw cause;
  }
}

async function readLock(path: string): Promise<LockText | undefined> {
  try {
    const value = JSON.parse(await readFile(path, 'utf8')) as LockText;
    if (Number.isInteger(value.pid)) return value;
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT' || codeOf(thrown) === 'ENOTDIR') return undefined;
    if (!(thrown instanceof SyntaxError)) throw thrown;
  }
  return { pid: 0, started: '', address: '' }; // Not ours to read: nobody's.
}

async function isAlive({ pid, started }: LockText): Promise<boolean> {
  if (pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (thrown) {
    if (codeOf(thrown) !== 'EPERM') return false;
  }
  return (await startOf(pid)) === started;
}

/**
 * When a process began: field 22 of /proc/PID/stat, counted after the name in brackets; empty where there is no /proc.
 * One that has ended and waits for its parent to notice (state Z; for ever, under an init that does not) began never.
 */
async function startOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' ? 'never' : (fields[19] ?? '');
  } catch {
    return '';
  }
}

/** Moves a dead process's lock away; if another process took it over meanwhile, puts that one's back. */
async function moveAside(path: string, dead: LockText): Promise<void> {
  const aside = `${path}.${randomBytes(4).toString('hex')}`;
  try {
    await rename(path, aside);
  } catch (thrown) {
    if (codeOf(thrown) === 'ENOENT') return;
    throw thrown;
  }
  const moved = await readLock(aside);
  const wrong = moved?.pid !== dead.pid || moved.started !== dead.started;
  if (wrong) await link(aside, path).catch(() => undefined);
  await rm(aside, { force: true });
}

const codeOf = (thrown: unknown): string | undefined =>
  thrown instanceof Error && 'code' in thrown ? String(thrown.code) : undefined;
