import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';

export interface ProgramSettings {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** Its stdout and stderr, appended to. */
  readonly logFile: string;
  /** Whether it answers. */
  readonly ready: () => Promise<boolean>;
}

/** Between two starts of a program that ends by itself. */
const RESTART_MS = 1_000;
const READY_MS = 60_000;
const POLL_MS = 50;
/** Longer than a service drains. */
const STOP_MS = 30_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** A program that is started again when it ends without having been told to. */
export class Supervised {
  readonly name: string;
  private readonly settings: ProgramSettings;
  private readonly say: (line: string) => void;
  private child: ChildProcess | undefined;
  private isStopping = false;
  private isReady = false;

  constructor(settings: ProgramSettings, say: (line: string) => void) {
    this.name = settings.name;
    this.settings = settings;
    this.say = say;
  }

  /** Starts it; resolves when it answers. Errors: it ended, or did not answer in a minute. */
  async start(): Promise<void> {
    this.launch();
    const untilMs = performance.now() + READY_MS;
    while (!(await this.settings.ready())) {
      if (this.child === undefined) throw this.failure('ended before it answered');
      if (performance.now() > untilMs) throw this.failure(`does not answer after ${READY_MS} ms`);
      await pause(POLL_MS);
    }
    this.isReady = true;
  }

  /** SIGTERM, and SIGKILL when that is not enough. */
  async stop(): Promise<void> {
    this.isStopping = true;
    const { child } = this;
    if (child === undefined) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), STOP_MS);
    await ended;
    clearTimeout(timer);
  }

  kill(): void {
    this.isStopping = true;
    this.child?.kill('SIGKILL');
  }

  private launch(): void {
    const { command, env, logFile } = this.settings;
    const [program = '', ...args] = command;
    const log = openSync(logFile, 'a');
    // A group of its own: Ctrl-C is for us, who stop services before what they keep things in. The channel tells a service
    // when we are gone, even by SIGKILL; other programs do not look at it.
    const child = spawn(program, args, {
      stdio: ['ignore', log, log, 'ipc'],
      detached: true,
      env: { ...process.env, ...env },
    });
    closeSync(log);
    this.child = child;
    child.once('error', (error) => this.say(`${this.name}: ${error.message}`));
    child.once('exit', (code, signal) => {
      this.child = undefined;
      if (this.isStopping || !this.isReady) return;
      this.say(`${this.name} ended (${code ?? signal}) and is started again; see ${logFile}`);
      setTimeout(() => {
        if (!this.isStopping) this.launch();
      }, RESTART_MS);
    });
  }

  private failure(what: string): Error {
    return new Error(`${this.name} ${what}: see ${this.settings.logFile}`);
  }
}
