import { OperationError } from '@heddle/core';
import {
  type Clock,
  type Engine,
  type LoadedModel,
  type Metrics,
  type ModelStore,
  NO_TRACING,
  type Tracing,
} from '@heddle/ports';
import { batchRunner, type PromptResult, type PromptWork } from './batch-run.ts';
import type { CheckedRun } from './check-run.ts';
import { planPrompt } from './compute.ts';
import {
  BATCH_BYTES_MAX,
  BATCH_PROMPTS_MAX,
  BATCH_TOKENS_MAX,
  REPLY_ROOM_BYTES_MAX,
  RETRY_AFTER_MS_MIN,
  WAITING_MS_ADMITTED,
  WAITING_PROMPTS_MAX,
} from './limits.ts';
import { ProgramCache } from './program-cache.ts';
import { ReplyRoom } from './reply-room.ts';
import { RunWindow } from './run-window.ts';
import { Scheduler } from './scheduler.ts';
import { SessionMeter } from './session-meter.ts';

export interface RunDeps {
  readonly engine: Engine;
  readonly store: Pick<ModelStore, 'program'>;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** Absent: runs leave no spans. */
  readonly tracing?: Tracing | undefined;
}

export interface RunOptions {
  readonly signal: AbortSignal;
  /** Whose run it is: callers share the queue. */
  readonly caller: string;
  /** A task of this process: there are few, and they wait rather than be refused. */
  readonly patient?: boolean;
}

/** Runs: prompts in, each prompt's values out, in the order of the prompts. */
export class RunService {
  private readonly scheduler: Scheduler<PromptWork, PromptResult>;
  private readonly room = new ReplyRoom(REPLY_ROOM_BYTES_MAX);
  private readonly tracing: Tracing;
  private lastRun = 0;

  constructor(deps: RunDeps) {
    const { store, metrics, clock } = deps;
    this.tracing = deps.tracing ?? NO_TRACING;
    const limits = {
      batchTokensMax: BATCH_TOKENS_MAX,
      batchPromptsMax: BATCH_PROMPTS_MAX,
      batchBytesMax: BATCH_BYTES_MAX,
      waitingPromptsMax: WAITING_PROMPTS_MAX,
      waitingMsMax: WAITING_MS_ADMITTED,
    };
    const programs = new ProgramCache(store);
    const runBatch = batchRunner({ ...deps, programs, sessions: new SessionMeter(metrics) });
    const onDepth = (waiting: number) => metrics.set('activation_waiting_prompts', waiting);
    this.scheduler = new Scheduler({ limits, runBatch, clock, onDepth });
  }

  /** Before a request is read that would not be let in. Errors: `resource_exhausted` with a delay. */
  refuseWhenFull(caller: string): void {
    if (this.room.isFull) throw this.room.refusal(RETRY_AFTER_MS_MIN);
    this.scheduler.refuseWhenFull(caller);
  }

  /**
   * What waits for a slow reader is bounded: later prompts are given to the engine as earlier ones are taken. Errors:
   * `resource_exhausted` for a prompt that is too large, or a full queue; `cancelled`; the engine's.
   */
  async *run(
    model: LoadedModel,
    run: CheckedRun,
    { signal, caller, patient = false }: RunOptions,
  ): AsyncGenerator<PromptResult> {
    const number = ++this.lastRun;
    const plans = planLengths(model, run);
    // Here, where it is asked for: a batch of several callers' prompts is a part of each one's trace.
    const beginBatch = this.tracing.prepare({ name: 'engine batch' });
    const workOf = (prompt: number): PromptWork => {
      const tokens = run.prompts[prompt]?.tokens ?? [];
      const promptPlan = plans.get(tokens.length);
      if (!promptPlan)
        throw new OperationError({ code: 'internal', message: 'a prompt without a plan' });
      return { model, run, prompt, tokens, promptPlan, beginBatch };
    };
    const { scheduler, room } = this;
    const window = new RunWindow({ scheduler, room, number, run, workOf, caller, patient });
    const withdraw = () => this.scheduler.withdraw(number);
    signal.addEventListener('abort', withdraw, { once: true });
    try {
      for (let prompt = 0; prompt < run.prompts.length; prompt++) {
        signal.throwIfAborted();
        await window.fill(signal);
        yield await window.take(prompt);
        window.release(prompt); // its reader has it
      }
    } finally {
      signal.removeEventListener('abort', withdraw);
      this.scheduler.withdraw(number);
      window.close();
    }
  }
}

function planLengths(model: LoadedModel, run: CheckedRun) {
  const lengths = new Set(run.prompts.map(({ tokens }) => tokens.length));
  return new Map([...lengths].map((length) => [length, planPrompt(model, run, length)]));
}
