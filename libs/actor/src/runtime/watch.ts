import { notFound, OperationError } from '@heddle/core';
import type { Journal } from '@heddle/ports';
import { jobBehaviour } from '../job/behaviour.ts';
import { decodeEvent } from '../job/codec.ts';
import { fold, initialState, isSettled, type JobState } from '../job/state.ts';
import { type JobView, viewOf } from './job-view.ts';
import type { ProgressBook } from './progress-book.ts';

export interface WatchOptions {
  readonly journal: Journal;
  readonly progress: ProgressBook;
  /** The state as of now: where watching begins. */
  readonly state: JobState;
}

/**
 * The job now, then as it changes; what a slow reader misses is skipped, but never the end. Ends after a settled state,
 * or with the signal.
 */
export async function* watch(
  { journal, progress, state: first }: WatchOptions,
  signal: AbortSignal,
): AsyncGenerator<JobView> {
  if (first.status === 'absent') throw notFound(`no job ${first.id}`);
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  const changes = new Changes(first);
  const followed = follow(journal, changes, both);
  const unsubscribe = progress.onChange(first.id, () => changes.wake());
  const onAbort = (): void => changes.wake();
  signal.addEventListener('abort', onAbort);
  try {
    while (!signal.aborted) {
      const { state } = changes;
      const settled = isSettled(state.status);
      yield viewOf(state, settled ? undefined : progress.of(state.id));
      if (settled) return;
      await changes.next(signal);
      if (changes.error !== undefined) throw changes.error;
    }
  } finally {
    stop.abort();
    signal.removeEventListener('abort', onAbort);
    unsubscribe();
    await followed;
  }
}

async function follow(journal: Journal, changes: Changes, signal: AbortSignal): Promise<void> {
  try {
    const { id, sequence } = changes.state;
    for await (const event of journal.follow(jobBehaviour.stream(id), sequence, signal)) {
      changes.state = fold(changes.state, decodeEvent(event.bytes));
      changes.wake();
    }
  } catch (error) {
    if (signal.aborted) return;
    const gone = OperationError.from(error).code === 'aborted';
    changes.error = gone ? notFound(`job ${changes.state.id} was removed`) : error;
    changes.wake();
  }
}

/** The newest state and whether anything happened since it was last looked at. */
class Changes {
  state: JobState;
  error: unknown;
  private changed = false;
  private waiter: (() => void) | undefined;

  constructor(state: JobState) {
    this.state = state.sequence === 0 ? initialState(state.id) : state;
  }

  wake(): void {
    this.changed = true;
    this.waiter?.();
    this.waiter = undefined;
  }

  async next(signal: AbortSignal): Promise<void> {
    if (!this.changed && !signal.aborted) {
      await new Promise<void>((resolve) => {
        this.waiter = resolve;
      });
    }
    this.changed = false;
  }
}
