import { OperationError } from '@heddle/core';

/**
 * Why a running task must stop. `paused` and `drain`: it may still commit a checkpoint, and is handed back. `ended`: its
 * job is over. `lost`: another attempt holds it, or may.
 */
export type StopReason = 'paused' | 'drain' | 'ended' | 'lost';

const WORDS: Readonly<Record<StopReason, string>> = {
  paused: 'the job was paused',
  drain: 'the process is shutting down',
  ended: 'the job has ended',
  lost: 'another worker has the task',
};

export function stopped(reason: StopReason): OperationError {
  return new OperationError({
    code: 'cancelled',
    message: `stopped: ${WORDS[reason]}`,
    details: { reason },
  });
}

/** Whether what was computed so far may still be saved. */
export function maySave(reason: StopReason): boolean {
  return reason === 'paused' || reason === 'drain';
}
