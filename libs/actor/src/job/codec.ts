import { canonicalJson, dataLoss, failedPrecondition, resourceExhausted } from '@heddle/core';
import { JOB_LIMITS } from '../limits.ts';
import type { JobEvent } from './events.ts';

const VERSION = 3;

/** Versions that a type has been written in, besides 1: an older Heddle is told to run the newer one, not that its journal is damaged. */
const VERSIONS: Readonly<Partial<Record<JobEvent['type'], readonly number[]>>> = {
  'checkpoint-lost': [2],
  submitted: [1, 3],
  forgotten: [3],
};

type Shape = 'string' | 'number' | 'boolean' | 'list' | 'object' | 'any';

const ATTEMPT = { task: 'number', claim: 'string' } as const;
const KEPT = { blob: 'string', bytes: 'number', references: 'list' } as const;

/** What an event of each type must have, beside its version and time. */
const FIELDS: Readonly<Record<JobEvent['type'], Readonly<Record<string, Shape>>>> = {
  submitted: {
    kind: 'string',
    key: 'string',
    request: 'any',
    pinned: 'boolean',
    attemptsMax: 'number',
  },
  split: { tasks: 'list', reduce: 'boolean' },
  started: ATTEMPT,
  checkpointed: { ...ATTEMPT, ...KEPT, cursor: 'number' },
  'checkpoint-lost': { ...ATTEMPT, blob: 'string', cursor: 'number', reason: 'string' },
  released: ATTEMPT,
  'attempt-failed': { ...ATTEMPT, error: 'object', retryAtMs: 'number' },
  'task-done': { ...ATTEMPT, ...KEPT, provenance: 'object' },
  paused: {},
  resumed: {},
  cancelled: {},
  failed: { error: 'object' },
  completed: { ...KEPT, provenance: 'object' },
  pinned: { pinned: 'boolean' },
  forgotten: {},
};

/** Members that came later and that an older Heddle may overlook. */
const OPTIONAL: Readonly<Record<string, Shape>> = { retained: 'number', trace: 'string' };

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
 * An event of any version ever written. A change of meaning would be carried over here, one step per version; so far
 * versions only added types. Errors: `failed_precondition` for a newer one; `data_loss` for what is no event at all.
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
  const fields = typeof type === 'string' ? shapesOf(type, v) : undefined;
  if (fields === undefined) {
    throw dataLoss(`a journal event has version ${String(v)} and type ${String(type)}`);
  }
  const members = value as Readonly<Record<string, unknown>>;
  for (const [name, shape] of Object.entries({ timeMs: 'number' as const, ...fields })) {
    if (hasShape(members[name], shape)) continue;
    throw dataLoss(`a journal event of type ${String(type)} has no ${shape} '${name}'`);
  }
  for (const [name, shape] of Object.entries(OPTIONAL)) {
    if (!(name in members) || hasShape(members[name], shape)) continue;
    throw dataLoss(`a journal event of type ${String(type)} has a '${name}' that is no ${shape}`);
  }
  return value as JobEvent;
}

function shapesOf(type: string, version: unknown): Readonly<Record<string, Shape>> | undefined {
  if (!Object.hasOwn(FIELDS, type)) return undefined;
  const known = type as JobEvent['type'];
  if (!(VERSIONS[known] ?? [1]).includes(version as number)) return undefined;
  return known === 'submitted' && version === 3
    ? { ...FIELDS[known], tenant: 'string' }
    : FIELDS[known];
}

function hasShape(value: unknown, shape: Shape): boolean {
  if (shape === 'any') return value !== undefined;
  if (shape === 'list') return Array.isArray(value);
  if (shape === 'object') {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  }
  return typeof value === shape;
}
