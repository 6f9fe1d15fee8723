import { checkpointBytes } from './effects.ts';
import type { KeptOutput } from './events.ts';
import { isSettled, type JobState } from './state.ts';

/**
 * Bytes that a job's owner is charged with: its result, or until there is one its parts and checkpoints, with what they
 * name. What several jobs name is counted for each of them.
 */
export function chargedBytes(state: JobState): number {
  if (state.status === 'completed') return state.result === undefined ? 0 : bytesOf(state.result);
  const over = isSettled(state.status) && !(state.status === 'failed' && state.error?.retryable);
  if (over) return 0;
  const parts = state.tasks.flatMap(({ output }) => output ?? []);
  return parts.reduce((sum, output) => sum + bytesOf(output), checkpointBytes(state));
}

/** Tasks that are still to be done, the reduction among them. */
export function openTasks(state: JobState): number {
  if (state.status !== 'active' && state.status !== 'paused') return 0;
  return state.tasks.reduce((count, { phase }) => count + (phase === 'done' ? 0 : 1), 0);
}

function bytesOf({ bytes, retained }: KeptOutput): number {
  return retained ?? bytes;
}
