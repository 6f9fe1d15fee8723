import { Worker } from 'node:worker_threads';
import { assert, OperationError, resourceExhausted } from '@heddle/core';
import type {
  Engine,
  EngineReport,
  EngineUsage,
  Outputs,
  Plan,
  Provider,
  RunOptions,
} from '@heddle/ports';
import { instructionSet } from './instruction-set.ts';
import { CACHE_BYTES_DEFAULT, CLOSE_TIMEOUT_MS, CRASHES_MAX, QUEUED_PLANS_MAX } from './limits.ts';
import { packPlan } from './pack-plan.ts';
import { probeModel } from './probe.ts';
import type { FromWorker, ToWorker, WorkerSetup } from './protocol.ts';

export interface OrtEngineOptions {
  /** Tried in this order. A list without `cpu` demands the others: if none serves, starting fails. Default: cpu. */
  readonly providers?: readonly Provider[];
  /** Threads inside one operator; 1 unless told, because more are slower on busy cores. */
  readonly threads?: number;
  /** Weights that may stay in memory between plans. */
  readonly cacheBytes?: number;
  /** The CPU's instruction set, for provenance; default: what the system says. */
  readonly instructionSet?: string;
  /** For tests that let a worker die. */
  readonly startWorker?: (setup: WorkerSetup) => Worker;
}

interface Pending {
  readonly plan: Plan;
  readonly options: RunOptions;
  readonly cancelled: SharedArrayBuffer;
  readonly resolve: (outputs: readonly Outputs[]) => void;
  readonly reject: (error: unknown) => void;
  /** What an `onStep` threw: the plan is cancelled, and this is what the caller hears. */
  failure?: unknown;
  /** Calls of `onStep` run one after the other. */
  delivered: Promise<void>;
}

function startOwnWorker(setup: WorkerSetup): Worker {
  // Since 1.29 ONNX Runtime reports names and hashes of models to its vendor unless it is told not to, and keeps what it could
  // not send in the home directory. Said to the process: its native code does not see a thread's own environment.
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  return new Worker(new URL('./worker.ts', import.meta.url), { workerData: setup });
}

const unavailable = (message: string): OperationError =>
  new OperationError({ code: 'unavailable', message });

/**
 * ONNX Runtime behind the `Engine` port: one worker thread, plans one at a time in the order asked. A worker that dies
 * fails the plan that ran on it with `unavailable`; the next plan gets a new worker.
 */
export class OrtEngine implements Engine {
  private readonly setup: WorkerSetup;
  private readonly options: OrtEngineOptions;
  private readonly queue: Pending[] = [];
  private running: Pending | undefined;
  private worker: Worker | undefined;
  private reported: EngineReport | undefined;
  private used: EngineUsage = {
    sessionsOpen: 0,
    residentBytes: 0,
    hits: 0,
    misses: 0,
    evictions: 0,
  };
  private crashes = 0;
  private closed = false;
  private ready!: { resolve: () => void; reject: (error: OperationError) => void };

  private constructor(options: OrtEngineOptions) {
    this.options = options;
    this.setup = {
      providers: options.providers ?? ['cpu'],
      threads: options.threads ?? 1,
      cacheBytes: options.cacheBytes ?? CACHE_BYTES_DEFAULT,
      probe: probeModel(),
    };
    assert(this.setup.providers.length > 0, 'no provider configured');
    assert(Number.isInteger(this.setup.threads) && this.setup.threads >= 1, 'threads');
  }

  /** Starts the worker and climbs the providers. Errors: `failed_precondition` when none of them serves. */
  static async start(options: OrtEngineOptions = {}): Promise<OrtEngine> {
    const engine = new OrtEngine(options);
    await engine.startWorker();
    return engine;
  }

  async report(): Promise<EngineReport> {
    assert(this.reported, 'an engine reports once it has started');
    return this.reported;
  }

  async usage(): Promise<EngineUsage> {
    return this.used;
  }

  run(plan: Plan, options: RunOptions = {}): Promise<readonly Outputs[]> {
    if (this.closed) return Promise.reject(unavailable('the engine is closed'));
    if (this.crashes >= CRASHES_MAX) {
      return Promise.reject(unavailable(`the engine's worker died ${this.crashes} times in a row`));
    }
    if (options.signal?.aborted) return Promise.reject(cancelled());
    if (this.queue.length >= QUEUED_PLANS_MAX) {
      return Promise.reject(
        resourceExhausted(`${QUEUED_PLANS_MAX} plans wait for this engine already`, {
          retryAfterMs: 1000,
          details: { limit: QUEUED_PLANS_MAX },
        }),
      );
    }
    const { promise, resolve, reject } = Promise.withResolvers<readonly Outputs[]>();
    const pending: Pending = {
      plan,
      options,
      cancelled: new SharedArrayBuffer(4),
      resolve,
      reject,
      delivered: Promise.resolve(),
    };
    // A job's signal lives for thousands of plans: a listener that stayed would keep every plan's feeds alive.
    const onAbort = () => this.cancel(pending);
    options.signal?.addEventListener('abort', onAbort, { once: true });
    this.queue.push(pending);
    this.pump();
    return promise.finally(() => options.signal?.removeEventListener('abort', onAbort));
  }

  /** Cancels what runs, refuses what waits, releases the sessions; resolves when the thread is gone. */
  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    for (const pending of this.queue.splice(0))
      pending.reject(unavailable('the engine is closing'));
    if (this.running) this.cancel(this.running);
    const worker = this.worker;
    if (!worker) return;
    const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
    worker.ref();
    this.post({ type: 'close' });
    const timer = setTimeout(() => void worker.terminate(), CLOSE_TIMEOUT_MS);
    await exited;
    clearTimeout(timer);
  }

  private startWorker(): Promise<void> {
    const worker = (this.options.startWorker ?? startOwnWorker)(this.setup);
    this.worker = worker;
    let cause: unknown;
    worker.on('message', (message: FromWorker) => this.hear(message));
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', () => this.died(worker, cause));
    return new Promise((resolve, reject) => {
      this.ready = { resolve, reject };
    });
  }

  private hear(message: FromWorker): void {
    switch (message.type) {
      case 'ready': {
        const { provider, refused, version } = message;
        const machine = this.options.instructionSet ?? instructionSet();
        const { threads } = this.setup;
        this.reported = { provider, refused, threads, version: `${version} ${machine}` };
        this.worker?.unref();
        this.ready.resolve();
        this.pump();
        return;
      }
      case 'unserved': {
        const reasons = message.refused.map((r) => `${r.provider}: ${r.reason}`).join('; ');
        this.closed = true;
        this.ready.reject(
          new OperationError({
            code: 'failed_precondition',
            message: `no execution provider of the configured ones serves (${reasons}); install it or add cpu to the list`,
            details: { providers: this.setup.providers.join(',') },
          }),
        );
        return;
      }
      case 'step':
        this.deliver(message.step, message.outputs, message.counted);
        return;
      case 'done':
        this.used = message.usage;
        this.finish((pending) => pending.resolve(message.outputs));
        return;
      case 'failed':
        this.used = message.usage;
        this.finish((pending) =>
          pending.reject(pending.failure ?? new OperationError(message.error)),
        );
        return;
    }
  }

  /** Hands one step to the caller, in order; what the caller throws cancels the plan. */
  private deliver(step: number, outputs: Outputs, counted: boolean): void {
    const pending = this.running;
    assert(pending?.options.onStep, 'a step without a plan that streams');
    const { onStep } = pending.options;
    pending.delivered = pending.delivered.then(async () => {
      try {
        if (pending.failure === undefined && !isCancelled(pending)) await onStep(step, outputs);
      } catch (thrown) {
        pending.failure = thrown;
        this.cancel(pending);
      }
      if (counted && this.running === pending) this.post({ type: 'acknowledge' });
    });
  }

  private finish(settle: (pending: Pending) => void): void {
    const pending = this.running;
    assert(pending, 'an answer without a plan');
    this.crashes = 0;
    // The last steps may still be with the caller; the worker is free only when they are taken.
    void pending.delivered.then(() => {
      if (pending.failure === undefined) settle(pending);
      else pending.reject(pending.failure);
      if (this.running !== pending) return;
      this.running = undefined;
      this.pump();
    });
  }

  private cancel(pending: Pending): void {
    const waiting = this.queue.indexOf(pending);
    if (waiting >= 0) {
      this.queue.splice(waiting, 1);
      pending.reject(cancelled());
      return;
    }
    Atomics.store(new Int32Array(pending.cancelled), 0, 1);
    // A worker that waits for room looks at the flag when it is woken.
    if (this.running === pending) this.post({ type: 'acknowledge' });
  }

  private pump(): void {
    if (this.running || this.closed || !this.reported || !this.worker) return;
    const next = this.queue.shift();
    if (!next) {
      this.worker.unref();
      return;
    }
    this.running = next;
    this.worker.ref();
    const stream = next.options.onStep !== undefined;
    this.post({ type: 'run', steps: packPlan(next.plan), stream, cancelled: next.cancelled });
  }

  private died(worker: Worker, cause: unknown): void {
    if (this.worker !== worker) return;
    this.worker = undefined;
    const words = cause instanceof Error ? `: ${cause.message}` : '';
    const error = unavailable(`the engine's worker died${words}`);
    this.ready.reject(error);
    this.used = { ...this.used, sessionsOpen: 0, residentBytes: 0 };
    const failed = this.running;
    this.running = undefined;
    failed?.reject(failed.failure ?? (this.closed ? cancelled() : error));
    if (this.closed) return;
    this.crashes++;
    if (this.crashes < CRASHES_MAX) {
      this.startWorker().catch(() => {}); // its own death is counted and reported where it happens
      return;
    }
    for (const pending of this.queue.splice(0)) pending.reject(error);
  }

  private post(message: ToWorker): void {
    this.worker?.postMessage(message);
  }
}

const cancelled = (): OperationError =>
  new OperationError({ code: 'cancelled', message: 'cancelled before it ran' });

const isCancelled = (pending: Pending): boolean =>
  Atomics.load(new Int32Array(pending.cancelled), 0) !== 0;
