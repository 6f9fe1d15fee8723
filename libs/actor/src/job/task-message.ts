import { canonicalJson, dataLoss } from '@heddle/core';
import type { PushTask } from './effects.ts';

/** A task as it lies on the queue: everything else is in the journal. */
export interface TaskMessage {
  readonly job: string;
  readonly task: number;
  readonly sequence: number;
}

export function queueOf(kind: string): string {
  return `tasks.${kind}`;
}

/** The job that a message's key names; see `PushTask.key`. */
export function jobOfKey(key: string): string {
  return key.slice(0, key.indexOf('.'));
}

export function encodeTask({ job, task, sequence }: PushTask | TaskMessage): Uint8Array {
  return new TextEncoder().encode(canonicalJson({ v: 1, job, task, sequence }));
}

/** Errors: `data_loss` for what is no task. */
export function decodeTask(bytes: Uint8Array): TaskMessage {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw dataLoss('a queue message is not JSON', { cause });
  }
  const { v, job, task, sequence } = (value ?? {}) as Record<string, unknown>;
  const whole = Number.isSafeInteger(task) && Number.isSafeInteger(sequence);
  if (v !== 1 || typeof job !== 'string' || !whole) {
    throw dataLoss('a queue message names no task');
  }
  return { job, task: task as number, sequence: sequence as number };
}
