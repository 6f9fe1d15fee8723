/** One prompt that waits for the engine. What is needed to decide, and nothing of what is computed. */
export interface Waiting {
  readonly id: number;
  /** The request that it came with. */
  readonly run: number;
  /** Equal keys are the same model, the same hooks and the same kinds of intervention: one chain of sessions serves them. */
  readonly key: string;
  /** Tokens. */
  readonly length: number;
  /** Memory in the engine per token of padded length, for hooks and intermediates. */
  readonly bytes: number;
  /** Work: floating-point operations, and what a step costs beside them. */
  readonly flops: number;
  /** Whose it is: who shares the queue with whom. */
  readonly caller: string;
  /**
   * Prompts of a job's pass carry the number of their submission: they share a batch with nobody else, so that its
   * values follow from the job alone.
   */
  readonly alone: number | undefined;
}

/** What the scheduler understands. */
export type Message =
  | {
      readonly type: 'submit';
      readonly run: number;
      readonly caller: string;
      readonly prompts: readonly Waiting[];
      /** Later prompts of a run that was let in: they wait, but they are not refused. */
      readonly underWay: boolean;
    }
  | { readonly type: 'withdraw'; readonly run: number }
  /** With the time that the batch took, unless it failed. */
  | { readonly type: 'finished'; readonly ms?: number | undefined };

/** Why a run is not let in: what waits before it, and how long that is estimated to take. */
export interface Refusal {
  readonly reason: 'prompts' | 'time';
  readonly waiting: number;
  readonly waitMs: number;
}

/** What it wants done. */
export type Effect =
  | { readonly type: 'run'; readonly prompts: readonly Waiting[] }
  | { readonly type: 'refuse'; readonly run: number; readonly refusal: Refusal }
  /** Nobody waits any more for what runs. */
  | { readonly type: 'stop' };
