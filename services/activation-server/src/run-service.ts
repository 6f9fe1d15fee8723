import { OperationError } from '@heddle/core';
import type { Clock, Engine, LoadedModel, Metrics, ModelStore } from '@heddle/ports';
import {
  batchRunner,
  type PromptPassage,
  type PromptResult,
  type PromptWork,
} from './batch-run.ts';
import type { CheckedRun } from './check-run.ts';
import { planPrompt, replyBytes } from './compute.ts';
import {
  BATCH_BYTES_MAX,
  BATCH_PROMPTS_MAX,
  BATCH_TOKENS_MAX,
  HELD_BYTES_MAX,
  WAITING_PROMPTS_MAX,
} from './limits.ts';
import { ProgramCache } from './program-cache.ts';
import { Scheduler } from './scheduler.ts';
import { SessionMeter } from './session-meter.ts';

export interface RunDeps {
  readonly engine: Engine;
  readonly store: Pick<ModelStore, 'program'>;
  readonly metrics: Metrics;
  readonly clock: Clock;
}

/** Runs: prompts in, each prompt's values out, in the order of the prompts. */
export class RunService {
  private readonly scheduler: Scheduler<PromptWork, PromptResult>;
  private lastRun = 0;

  constructor(deps: RunDeps) {
    const { store, metrics } = deps;
    const limits = {
      batchTokensMax: BATCH_TOKENS_MAX,
      batchPromptsMax: BATCH_PROMPTS_MAX,
      batchBytesMax: BATCH_BYTES_MAX,
      waitingPromptsMax: WAITING_PROMPTS_MAX,
    };
    this.scheduler = new Scheduler(
      limits,
      batchRunner({
        ...deps,
        programs: new ProgramCache(store),
        sessions: new SessionMeter(metrics),
      }),
      (waiting) => metrics.set('activation_waiting_prompts', waiting),
    );
  }

  /**
   * What waits for a slow reader is bounded: later prompts are given to the engine as earlier ones are taken. Errors:
   * `resource_exhausted` for a prompt that is too large, or a full queue; `cancelled`; the engine's.
   */
  async *run(
    model: LoadedModel,
    run: CheckedRun,
    signal: AbortSignal,
  ): AsyncGenerator<PromptResult> {
    const number = ++this.lastRun;
    const plans = planLengths(model, run);
    const window = new Window(this.scheduler, number, (prompt) => {
      const tokens = run.prompts[prompt]?.tokens ?? [];
      const promptPlan = plans.get(tokens.length);
      if (!promptPlan)
        throw new OperationError({ code: 'internal', message: 'a prompt without a plan' });
      return { model, run, prompt, tokens, promptPlan };
    });
    const withdraw = () => this.scheduler.withdraw(number);
    signal.addEventListener('abort', withdraw, { once: true });
    try {
      for (let prompt = 0; prompt < run.prompts.length; prompt++) {
        signal.throwIfAborted();
        window.fill(run);
        yield await window.take(prompt);
      }
    } finally {
      signal.removeEventListener('abort', withdraw);
      this.scheduler.withdraw(number);
    }
  }
}

function planLengths(model: LoadedModel, run: CheckedRun) {
  const lengths = new Set(run.prompts.map(({ tokens }) => tokens.length));
  return new Map([...lengths].map((length) => [length, planPrompt(model, run, length)]));
}

/** The prompts of one run that are with the scheduler or wait to be taken. */
class Window {
  private readonly scheduler: Scheduler<PromptWork, PromptResult>;
  private readonly number: number;
  private readonly workOf: (prompt: number) => PromptWork;
  private readonly results = new Map<number, Promise<PromptResult>>();
  private readonly held = new Map<number, number>();
  private next = 0;
  /** Where the portion ends that a full queue refused: it comes again as it was. */
  private refusedEnd: number | undefined;

  constructor(
    scheduler: Scheduler<PromptWork, PromptResult>,
    number: number,
    workOf: (prompt: number) => PromptWork,
  ) {
    this.scheduler = scheduler;
    this.number = number;
    this.workOf = workOf;
  }

  /**
   * Submits as many prompts as may be held, once half of the room is free: whole batches, not single prompts. Depends on what was
   * taken and on sizes alone, never on time, so that the batches of a job's pass are always the same.
   */
  fill(run: CheckedRun): void {
    const count = run.prompts.length;
    let bytes = [...this.held.values()].reduce((sum, each) => sum + each, 0);
    const { refusedEnd } = this;
    const full = this.held.size > 0 && bytes > HELD_BYTES_MAX / 2;
    if (this.next >= count || (full && refusedEnd === undefined)) return;
    const from = this.next;
    const alone = run.alone ? this.scheduler.nextId() : undefined;
    const passages: PromptPassage[] = [];
    let prompt = from;
    const end = Math.min(refusedEnd ?? count, from + BATCH_PROMPTS_MAX);
    for (; prompt < end; prompt++) {
      const own = replyBytes(run, run.prompts[prompt]?.tokens.length ?? 0);
      const fits = bytes + own <= HELD_BYTES_MAX || this.held.size === 0;
      if (!fits && refusedEnd === undefined) break;
      bytes += own;
      this.held.set(prompt, own);
      passages.push(this.passage(prompt, alone));
    }
    try {
      this.scheduler.submit(this.number, passages);
      this.next = prompt;
      this.refusedEnd = undefined;
    } catch (thrown) {
      for (let refused = from; refused < prompt; refused++) {
        this.held.delete(refused);
        this.results.delete(refused);
      }
      this.refusedEnd = prompt;
      // Under way already, it waits its turn; what is new is told to come later.
      if (this.held.size === 0) throw thrown;
    }
  }

  async take(prompt: number): Promise<PromptResult> {
    const result = this.results.get(prompt);
    if (!result)
      throw new OperationError({ code: 'internal', message: `prompt ${prompt} was not submitted` });
    const taken = await result;
    this.results.delete(prompt);
    this.held.delete(prompt);
    return taken;
  }

  private passage(prompt: number, alone: number | undefined): PromptPassage {
    const work = this.workOf(prompt);
    const { promise, resolve, reject } = Promise.withResolvers<PromptResult>();
    promise.catch(() => {}); // a caller that went away awaits none of its prompts
    this.results.set(prompt, promise);
    const waiting = {
      id: this.scheduler.nextId(),
      run: this.number,
      key: work.promptPlan.key,
      length: work.tokens.length,
      bytes: work.promptPlan.bytesPerToken,
      alone,
    };
    return { waiting, work, resolve, reject };
  }
}
