import { spawn } from 'node:child_process';

/** How often a long build says that it goes on. */
const STILL_AT_IT_MS = 30_000;
/** Of what a program said before it failed. */
const TAIL_LINES = 4;

export interface CommandOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs: number;
  /** Said again and again while it runs, with the seconds. */
  readonly what: string;
}

/** What the command printed; an error with the end of what it said when it fails. */
export function command(
  [program = '', ...args]: readonly string[],
  { cwd, env, timeoutMs, what }: CommandOptions,
): Promise<string> {
  const started = performance.now();
  const seconds = (): string => `${Math.round((performance.now() - started) / 1000)} s`;
  const beat = setInterval(
    () => process.stdout.write(`  … ${what} (${seconds()})\n`),
    STILL_AT_IT_MS,
  );
  return new Promise<string>((resolve, reject) => {
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      timeout: timeoutMs,
      ...(cwd === undefined ? {} : { cwd }),
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-64 * 1024);
    });
    child.once('error', (error) => reject(new Error(`${program} did not run: ${error.message}`)));
    child.once('close', (code, signal) => {
      const said = (stderr.trim() || stdout.trim()).split('\n').slice(-TAIL_LINES).join(' ');
      if (code === 0) resolve(stdout);
      else reject(new Error(`${program} ended with ${code ?? signal} after ${seconds()}: ${said}`));
    });
  }).finally(() => clearInterval(beat));
}
