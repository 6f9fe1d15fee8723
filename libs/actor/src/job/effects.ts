import type { BlobDigest } from '@heddle/ports';
import { JOB_LIMITS } from '../limits.ts';
import type { JobEvent } from './events.ts';
import type { JobReply } from './messages.ts';
import { isSettled, type JobState } from './state.ts';

/** Puts a task on the queue of its kind. The key names (job, sequence, index): repeating it is harmless. */
export interface PushTask {
  readonly type: 'push';
  readonly key: string;
  readonly kind: string;
  readonly job: string;
  readonly sequence: number;
  readonly task: number;
  readonly readyAtMs: number;
}

/** What a decision asks for. Appends come first; the rest is done only once they are committed. */
export type JobEffect =
  | { readonly type: 'append'; readonly events: readonly JobEvent[] }
  | PushTask
  /** A checkpoint that nobody will load again. May be lost: `gc` finds it. */
  | { readonly type: 'discard'; readonly blob: BlobDigest }
  | { readonly type: 'reply'; readonly reply: JobReply };

/**
 * The messages that must be on the queue for this state to move on: one for each of the first tasks that are not done.
 * Also for running ones, whose message is in a worker's hands; pushing its key again does nothing there.
 */
export function effectsOf(state: JobState): readonly PushTask[] {
  if (state.status !== 'active') return [];
  const effects: PushTask[] = [];
  const last = state.tasks.length - 1;
  for (const [index, task] of state.tasks.entries()) {
    if (effects.length === JOB_LIMITS.effectsMax) break;
    if (task.phase === 'done') continue;
    // The reduction waits for all others.
    if (state.reduce && index === last && effects.length > 0) break;
    effects.push({
      type: 'push',
      key: `${state.id}.${task.readySequence}.${index}`,
      kind: state.kind,
      job: state.id,
      sequence: task.readySequence,
      task: index,
      readyAtMs: task.readyAtMs,
    });
  }
  return effects;
}

/** What a decision newly asks of the queue. */
export function newEffects(before: JobState, after: JobState): readonly PushTask[] {
  const known = new Set(effectsOf(before).map((effect) => effect.key));
  return effectsOf(after).filter((effect) => !known.has(effect.key));
}

/** Checkpoints that the step from one state to the next made superfluous. */
export function discardsOf(before: JobState, after: JobState): readonly JobEffect[] {
  const kept = new Set(checkpointsOf(after));
  return checkpointsOf(before)
    .filter((blob) => !kept.has(blob))
    .map((blob) => ({ type: 'discard', blob }));
}

/** Bytes of these, without what they name. */
export function checkpointBytes(state: JobState): number {
  if (isSettled(state.status) && state.status !== 'failed') return 0;
  return state.tasks.reduce((sum, { phase, checkpoint, earlier }) => {
    if (phase === 'done') return sum;
    return sum + (checkpoint?.bytes ?? 0) + (earlier?.bytes ?? 0);
  }, 0);
}

/** Checkpoints that may be loaded again, two a task: of unfinished tasks, also of a failed job, which may be resumed. */
export function checkpointsOf(state: JobState): readonly BlobDigest[] {
  if (isSettled(state.status) && state.status !== 'failed') return [];
  return state.tasks.flatMap(({ phase, checkpoint, earlier }) =>
    phase === 'done' ? [] : [checkpoint, earlier].flatMap((kept) => kept?.blob ?? []),
  );
}
