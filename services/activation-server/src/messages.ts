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
  /**
   * Prompts of a job's pass carry the number of their submission: they share a batch with nobody else, so that its
   * values follow from the job alone.
   */
  readonly alone: number | undefined;
}

/** What the scheduler understands. */
export type Message =
  | { readonly type: 'submit'; readonly run: number; readonly prompts: readonly Waiting[] }
  | { readonly type: 'withdraw'; readonly run: number }
  | { readonly type: 'finished' };

/** What it wants done. */
export type Effect =
  | { readonly type: 'run'; readonly prompts: readonly Waiting[] }
  | { readonly type: 'refuse'; readonly run: number; readonly waiting: number }
  /** Nobody waits any more for what runs. */
  | { readonly type: 'stop' };
