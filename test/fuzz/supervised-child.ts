import { type ChildProcess, fork } from 'node:child_process';

export interface ChildAnswer {
  readonly rssBytes: number;
}

/** How a request to the child ended when it did not answer. */
export interface ChildDeath {
  readonly died: string;
}

/**
 * A process that answers numbered questions, one at a time, and may die of one: a native crash or a hang kills the child, is told
 * to the asker, and the next question gets a new child.
 */
export class SupervisedChild<Answer extends ChildAnswer> {
  private child: ChildProcess | undefined;
  private readonly module: URL;
  private readonly args: readonly string[];

  constructor(module: URL, args: readonly string[]) {
    this.module = module;
    this.args = args;
  }

  async ask(question: number, limitMs: number): Promise<Answer | ChildDeath> {
    const child = this.child ?? (await this.start());
    return new Promise((resolve) => {
      const settle = (answer: Answer | ChildDeath): void => {
        clearTimeout(timer);
        child.removeAllListeners('message');
        child.removeAllListeners('exit');
        resolve(answer);
      };
      const timer = setTimeout(() => {
        this.child = undefined;
        child.kill('SIGKILL');
        settle({ died: `no answer within ${limitMs} ms` });
      }, limitMs);
      child.once('message', (answer) => settle(answer as Answer));
      child.once('exit', (code, signal) => {
        this.child = undefined;
        settle({ died: `the process died of ${signal ?? `status ${code}`}` });
      });
      child.send(question);
    });
  }

  async close(): Promise<void> {
    const { child } = this;
    if (!child) return;
    const exited = new Promise((resolve) => child.once('exit', resolve));
    child.disconnect();
    await exited;
  }

  /** Resolves when the child says that it is ready. */
  private async start(): Promise<ChildProcess> {
    const child = fork(this.module, [...this.args], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    await new Promise<void>((resolve, reject) => {
      child.once('message', () => resolve());
      child.once('exit', (code) => reject(new Error(`${this.module} ended with ${code} at start`)));
    });
    child.removeAllListeners('exit');
    this.child = child;
    return child;
  }
}
