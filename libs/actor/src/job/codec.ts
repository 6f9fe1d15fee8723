import { canonicalJson, dataLoss, failedPrecondition, resourceExhausted } from '@heddle/core';
import { JOB_LIMITS } from '../limits.ts';
import type { JobEvent } from './events.ts';

const VERSION = 1;

const TYPES: ReadonlySet<string> = new Set<JobEvent['type']>([
  'submitted',
  'split',
  'started',
  'checkpointed',
  'released',
  'attempt-failed',
  'task-done',
  'paused',
  'resumed',
  'cancelled',
  'failed',
  'completed',
  'pinned',
]);

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** An event as bytes: canonical JSON. Errors: `resource_exhausted` when it is larger than a message may be. */
export function encodeEvent(event: JobEvent): Uint8Array {
  const bytes = new TextEncoder().encode(canonicalJson(event));
  if (bytes.length > JOB_LIMITS.eventBytesMax) {
    throw resourceExhausted(
      `a job's ${event.type} takes ${bytes.length} bytes, at most ${JOB_LIMITS.eventBytesMax} fit: ask for less at once`,
      {
        retryable: false,
        details: { bytes: bytes.length, eventBytesMax: JOB_LIMITS.eventBytesMax },
      },
    );
  }
  return bytes;
}

/**
 * An event of any version ever written. A version older than ours is carried over here, one step per version; there
 * is only the first yet. Errors: `failed_precondition` for a newer one; `data_loss` for what is no event at all.
 */
export function decodeEvent(bytes: Uint8Array): JobEvent {
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (cause) {
    throw dataLoss('a journal event is not JSON', { cause });
  }
  const { v, type } = (value ?? {}) as { v?: unknown; type?: unknown };
  if (typeof v === 'number' && v > VERSION) {
    throw failedPrecondition(
      `the journal holds an event of version ${v}, this Heddle reads up to ${VERSION}: run the newer one`,
      { details: { version: v, versionMax: VERSION } },
    );
  }
  if (v !== VERSION || typeof type !== 'string' || !TYPES.has(type)) {
    throw dataLoss(`a journal event has version ${String(v)} and type ${String(type)}`);
  }
  return value as JobEvent;
}
