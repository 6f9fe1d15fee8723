import { Worker } from 'node:worker_threads';
import { assert, OperationError } from '@heddle/core';
import type { Layout } from './layout.ts';
import { scratchName } from './layout.ts';
import { CLOSE_TIMEOUT_MS } from './limits.ts';
import { CONTROL_LENGTH, type FromLeader, type Phase, type ThreadSetup } from './protocol.ts';

export interface PoolOptions {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly layout: Layout;
  readonly threads: number;
}

const unavailable = (message: string): OperationError =>
  new OperationError({ code: 'unavailable', message });

/**
 * The threads that run phases over one memory. One call at a time. A thread that dies ends the pool: what it left in the
 * memory is half a step.
 */
export class KernelPool {
  private readonly workers: readonly Worker[];
  private readonly exits: Promise<unknown>;
  private waiting: PromiseWithResolvers<readonly number[]> | undefined;
  private broken: OperationError | undefined;
  private closing = false;

  private constructor(options: PoolOptions) {
    const { module, memory, layout, threads } = options;
    const control = new SharedArrayBuffer(4 * CONTROL_LENGTH);
    const address = (name: string) => layout.regions.get(name)?.address ?? 0;
    this.workers = Array.from({ length: threads }, (_, thread) => {
      const setup: ThreadSetup = {
        module,
        memory,
        control,
        thread,
        threads,
        arguments: address('arguments'),
        scratch: address(scratchName(thread)),
      };
      const worker = new Worker(new URL('./kernel-thread.ts', import.meta.url), {
        workerData: setup,
      });
      worker.on('error', (error) => this.fall(`a thread of the kernels died: ${error.message}`));
      worker.on('exit', () => this.fall('a thread of the kernels ended'));
      return worker;
    });
    this.exits = Promise.all(
      this.workers.map((worker) => new Promise((resolve) => worker.once('exit', resolve))),
    );
    this.workers[0]?.on('message', (message: FromLeader) => this.hear(message));
    this.waiting = Promise.withResolvers();
  }

  static async start(options: PoolOptions): Promise<KernelPool> {
    const pool = new KernelPool(options);
    await pool.waiting?.promise;
    return pool;
  }

  /** Runs the phases one after the other and returns the milliseconds of each. */
  run(phases: readonly Phase[]): Promise<readonly number[]> {
    if (this.broken) return Promise.reject(this.broken);
    assert(!this.closing, 'the kernels are closed');
    assert(!this.waiting, 'the kernels take one call at a time');
    this.waiting = Promise.withResolvers();
    this.workers[0]?.ref();
    this.workers[0]?.postMessage(phases);
    return this.waiting.promise;
  }

  /** Resolves when the threads are gone. */
  async close(): Promise<void> {
    if (this.closing) return;
    this.closing = true;
    for (const worker of this.workers) worker.ref();
    this.workers[0]?.postMessage('close');
    const timer = setTimeout(() => {
      for (const worker of this.workers) void worker.terminate();
    }, CLOSE_TIMEOUT_MS);
    await this.exits;
    clearTimeout(timer);
  }

  private hear(message: FromLeader): void {
    const waiting = this.waiting;
    assert(waiting, 'an answer without a call');
    this.waiting = undefined;
    // Idle threads do not keep a process alive.
    for (const worker of this.workers) worker.unref();
    if (message.type === 'failed') {
      this.broken = new OperationError({ code: 'internal', message: message.message });
      waiting.reject(this.broken);
    } else waiting.resolve(message.type === 'done' ? message.times : []);
  }

  private fall(words: string): void {
    if (this.closing) {
      this.waiting?.reject(unavailable('the kernels are closed'));
      this.waiting = undefined;
      return;
    }
    this.broken ??= unavailable(words);
    this.waiting?.reject(this.broken);
    this.waiting = undefined;
    for (const worker of this.workers) void worker.terminate();
  }
}
