import { OperationError } from '@heddle/core';
import type { PromptPassage, PromptResult, PromptWork } from './batch-run.ts';
import type { CheckedRun } from './check-run.ts';
import { replyBytes } from './compute.ts';
import { BATCH_PROMPTS_MAX, HELD_BYTES_MAX, RETRY_AFTER_MS_MIN } from './limits.ts';
import type { ReplyRoom } from './reply-room.ts';
import type { Scheduler } from './scheduler.ts';

export interface RunWindowOptions {
  readonly scheduler: Scheduler<PromptWork, PromptResult>;
  /** Shared by all runs. */
  readonly room: ReplyRoom;
  readonly number: number;
  readonly run: CheckedRun;
  readonly workOf: (prompt: number) => PromptWork;
  readonly caller: string;
  readonly patient: boolean;
}

/** Prompts that are submitted together. */
interface Portion {
  readonly end: number;
  readonly bytes: readonly number[];
}

/** The prompts of one run that are with the scheduler or wait to be taken. */
export class RunWindow {
  private readonly options: RunWindowOptions;
  private readonly results = new Map<number, Promise<PromptResult>>();
  /** Bytes of each prompt that was submitted and is not yet released. */
  private readonly held = new Map<number, number>();
  private next = 0;
  /** A portion that found no room: it comes again as it was. */
  private postponed: Portion | undefined;

  constructor(options: RunWindowOptions) {
    this.options = options;
  }

  /**
   * Submits as many prompts as may be held, once half of the room is free: whole batches, not single prompts. Depends on what was
   * taken and on sizes alone, never on time, so that the batches of a job's pass are always the same. Only the first portion is
   * refused; a run under way waits, and with nothing in hand it waits here. Errors: `resource_exhausted`, the signal's reason.
   */
  async fill(signal: AbortSignal): Promise<void> {
    const portion = this.postponed ?? this.portion();
    if (portion === undefined) return;
    const { room, scheduler, number, caller, patient } = this.options;
    const underWay = this.next > 0 || patient;
    const bytes = portion.bytes.reduce((sum, own) => sum + own, 0);
    if (!room.tryTake(bytes)) {
      if (!underWay) throw room.refusal(RETRY_AFTER_MS_MIN);
      this.postponed = portion;
      if (this.held.size > 0) return;
      await room.take(bytes, signal);
    }
    const from = this.next;
    const alone = this.options.run.alone ? scheduler.nextId() : undefined;
    const passages = portion.bytes.map((own, i) => {
      this.held.set(from + i, own);
      return this.passage(from + i, alone);
    });
    this.postponed = undefined;
    scheduler.submit({ run: number, caller, underWay }, passages);
    this.next = portion.end;
  }

  async take(prompt: number): Promise<PromptResult> {
    const result = this.results.get(prompt);
    if (!result)
      throw new OperationError({ code: 'internal', message: `prompt ${prompt} was not submitted` });
    const taken = await result;
    this.results.delete(prompt);
    return taken;
  }

  /** Its result is kept no longer. */
  release(prompt: number): void {
    this.options.room.give(this.held.get(prompt) ?? 0);
    this.held.delete(prompt);
  }

  close(): void {
    for (const prompt of [...this.held.keys()]) this.release(prompt);
  }

  private portion(): Portion | undefined {
    const { run } = this.options;
    let held = [...this.held.values()].reduce((sum, each) => sum + each, 0);
    if (this.next >= run.prompts.length || (this.held.size > 0 && held > HELD_BYTES_MAX / 2)) {
      return undefined;
    }
    const most = Math.min(run.prompts.length, this.next + BATCH_PROMPTS_MAX);
    const bytes: number[] = [];
    let end = this.next;
    for (; end < most; end++) {
      const own = replyBytes(run, run.prompts[end]?.tokens.length ?? 0);
      const isFirst = this.held.size === 0 && bytes.length === 0;
      if (held + own > HELD_BYTES_MAX && !isFirst) break;
      held += own;
      bytes.push(own);
    }
    return bytes.length === 0 ? undefined : { end, bytes };
  }

  private passage(prompt: number, alone: number | undefined): PromptPassage {
    const { scheduler, workOf, number, caller } = this.options;
    const work = workOf(prompt);
    const { promise, resolve, reject } = Promise.withResolvers<PromptResult>();
    promise.catch(() => {}); // a caller that went away awaits none of its prompts
    this.results.set(prompt, promise);
    const { key, bytesPerToken, flops } = work.promptPlan;
    const waiting = {
      id: scheduler.nextId(),
      run: number,
      key,
      length: work.tokens.length,
      bytes: bytesPerToken,
      flops,
      caller,
      alone,
    };
    return { waiting, work, resolve, reject };
  }
}
