import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';

export interface Launched {
  readonly pid: number;
  /** The first line of stdout that matches, printed already or yet to come; fails when the process ends before. */
  line(pattern: RegExp): Promise<RegExpMatchArray>;
  /** All lines so far. */
  readonly lines: readonly string[];
  readonly stderr: () => string;
  kill(signal: NodeJS.Signals): void;
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>;
}

export interface LaunchOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** A command that runs the rest of its arguments: `['sh', '-c', 'ulimit -f 8; exec "$@"', 'sh']`. */
  readonly within?: readonly string[];
}

/** Those of `services/embedded/bin/node24.js`. */
const FLAGS = ['--disable-warning=ExperimentalWarning', '--max-semi-space-size=8'];

/** Children of this test process, so that none outlives it. */
const children = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});

/** Starts a TypeScript file as a process of its own, under the Node that runs this. */
export function launch(
  script: string,
  args: readonly string[] = [],
  options: LaunchOptions = {},
): Launched {
  const node = [process.execPath, ...FLAGS, script, ...args];
  return launchCommand([...(options.within ?? []), ...node], options);
}

/**
 * The kernel kills what is started so when we die, also by SIGKILL, which leaves us no moment for it. Empty where nobody can
 * ask the kernel for that. By its path: a child may be given another PATH than ours.
 */
export const DYING_WITH_US: readonly string[] = pathsOf('setpriv')
  .slice(0, 1)
  .flatMap((setpriv) => [setpriv, '--pdeathsig', 'KILL', '--']);

/** Where `PATH` has a program, in its order. */
function pathsOf(program: string): readonly string[] {
  const folders = (process.env['PATH'] ?? '').split(delimiter);
  return folders
    .map((folder) => join(folder, program))
    .filter((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Starts any program. It ends when we do. */
export function launchCommand(
  [command = '', ...rest]: readonly string[],
  options: Omit<LaunchOptions, 'within'> = {},
): Launched {
  const [program = '', ...args] = [...DYING_WITH_US, command, ...rest];
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  children.add(child);
  const lines: string[] = [];
  let stderr = '';
  let waiting: { readonly pattern: RegExp; readonly found: (match: RegExpMatchArray) => void }[] =
    [];
  const exited = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('error', (error) => {
      stderr += `${program} did not start: ${error.message}`;
    });
    child.on('close', (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-64 * 1024);
  });
  createInterface({ input: child.stdout }).on('line', (line) => {
    lines.push(line);
    waiting = waiting.filter(({ pattern, found }) => {
      const match = line.match(pattern);
      if (match !== null) found(match);
      return match === null;
    });
  });
  const line = async (pattern: RegExp): Promise<RegExpMatchArray> => {
    for (const known of lines) {
      const match = known.match(pattern);
      if (match !== null) return match;
    }
    const match = new Promise<RegExpMatchArray>((found) => {
      waiting.push({ pattern, found });
    });
    const ended = exited.then(({ code, signal }) => {
      throw new Error(`ended (${code ?? signal}) before a line matched ${pattern}\n${stderr}`);
    });
    return Promise.race([match, ended]);
  };
  return {
    pid: child.pid ?? 0,
    line,
    lines,
    stderr: () => stderr,
    kill: (signal) => child.kill(signal),
    exited,
  };
}
