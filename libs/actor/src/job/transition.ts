import { canonicalJson, type Details, unreachable } from '@heddle/core';
import { JOB_LIMITS } from '../limits.ts';
import { discardsOf, type JobEffect, newEffects } from './effects.ts';
import type { JobError, JobEvent } from './events.ts';
import type { JobMessage, JobReply } from './messages.ts';
import { fold, holds, isSettled, type JobState, ownerOf } from './state.ts';

type Message<T extends JobMessage['type']> = Extract<JobMessage, { readonly type: T }>;

/** Events to append (none: nothing changes) and what to answer. */
type Decision = readonly [readonly JobEvent[], JobReply];

const DONE: JobReply = { type: 'done' };
const DROP: JobReply = { type: 'drop' };

/**
 * Decides; never does. The state returned is the one after the events of the `append` effect, if there is one; what
 * else is asked for is derived from the two states, so that a reconciler can ask for it again from the state alone.
 */
export function transition(
  state: JobState,
  message: JobMessage,
): readonly [JobState, readonly JobEffect[]] {
  const [events, reply] = decide(state, message);
  const answer: JobEffect = { type: 'reply', reply };
  if (events.length === 0) return [state, [answer]];
  const next = events.reduce(fold, state);
  return [
    next,
    [{ type: 'append', events }, ...newEffects(state, next), ...discardsOf(state, next), answer],
  ];
}

function decide(state: JobState, message: JobMessage): Decision {
  if (message.type === 'submit') return submit(state, message);
  if (state.status === 'absent') {
    // A message can outlive its job (`gc`), a client's request cannot find it.
    if (message.type === 'start') return [[], DROP];
    if (message.type === 'forget') return [[], state.sequence > 0 ? DONE : DROP];
    return [[], refuse('not_found', `no job ${state.id}`)];
  }
  switch (message.type) {
    case 'start':
      return start(state, message);
    case 'checkpoint':
      return checkpoint(state, message);
    case 'lose-checkpoint':
      return loseCheckpoint(state, message);
    case 'release':
      return release(state, message);
    case 'fail':
      return fail(state, message);
    case 'done':
      return done(state, message);
    case 'pause':
    case 'resume':
    case 'cancel':
      return command(state, message);
    case 'pin':
      if (state.pinned === message.pinned) return [[], DONE];
      return [[{ v: 1, type: 'pinned', timeMs: message.nowMs, pinned: message.pinned }], DONE];
    case 'touch': // as pinned as it is, at a later time
      if (message.nowMs <= state.updatedMs) return [[], DONE];
      return [[{ v: 1, type: 'pinned', timeMs: message.nowMs, pinned: state.pinned }], DONE];
    case 'forget':
      if (!isSettled(state.status) || state.pinned) return [[], DROP];
      if (state.sequence !== message.sequence) return [[], DROP];
      return [[{ v: 3, type: 'forgotten', timeMs: message.nowMs }], DONE];
    default:
      return unreachable(message);
  }
}

function submit(state: JobState, message: Message<'submit'>): Decision {
  const { tenant, kind, key, request, pinned, attemptsMax, trace, tasks, reduce } = message;
  const timeMs = message.nowMs;
  if (state.status !== 'absent') {
    if (ownerOf(state) !== tenant || state.kind !== kind || state.key !== key) {
      // Two of them hash to one id. What the other is is not the caller's to know.
      return [[], refuse('already_exists', `key '${key}' cannot be used: take another`)];
    }
    if (canonicalJson(state.request) === canonicalJson(request)) return [[], DONE];
    return [
      [],
      refuse('already_exists', `key '${key}' already names job ${state.id} with another request`),
    ];
  }
  if (state.sequence > 0) {
    const error = refuse('unavailable', `job ${state.id} is being removed: try again`);
    return [[], error];
  }
  const traced = trace === undefined ? {} : { trace };
  const job = { timeMs, kind, key, request, pinned, attemptsMax, ...traced };
  const submitted: JobEvent =
    tenant === ''
      ? { v: 1, type: 'submitted', ...job }
      : { v: 3, type: 'submitted', tenant, ...job };
  return [[submitted, { v: 1, type: 'split', timeMs, tasks, reduce }], DONE];
}

function start(state: JobState, message: Message<'start'>): Decision {
  const { task: index, claim, nowMs: timeMs } = message;
  const task = state.tasks[index];
  if (task === undefined || task.phase === 'done' || state.status !== 'active') return [[], DROP];
  if (task.readySequence !== message.sequence) return [[], DROP];
  if (task.phase === 'running' && task.claim === claim) {
    return [[], { type: 'granted', attempt: Math.max(1, task.attempts) }];
  }
  if (task.readyAtMs > timeMs) return [[], { type: 'later', delayMs: task.readyAtMs - timeMs }];
  if (task.attempts >= state.attemptsMax) {
    // Started so often and never came back: the task takes its process down, or nobody stays up long enough.
    const error: JobError = {
      code: 'internal',
      message: `task ${index} was started ${task.attempts} times and never finished or got further`,
      retryable: true,
      details: { task: index, attemptsMax: state.attemptsMax },
    };
    return [[{ v: 1, type: 'failed', timeMs, error }], DROP];
  }
  return [
    [{ v: 1, type: 'started', timeMs, task: index, claim }],
    { type: 'granted', attempt: task.attempts + 1 },
  ];
}

function checkpoint(state: JobState, message: Message<'checkpoint'>): Decision {
  const { task, claim, blob, bytes, references, cursor, nowMs: timeMs } = message;
  if (!holds(state, task, claim)) return [[], lost(state, task)];
  const saved = state.tasks[task]?.checkpoint;
  if (saved?.blob === blob && saved.cursor === cursor) return [[], DONE];
  if (saved !== undefined && cursor < saved.cursor) {
    const message = `cursor ${cursor} of task ${task} lies before its checkpoint's ${saved.cursor}`;
    return [[], refuse('failed_precondition', message)];
  }
  return [
    [{ v: 1, type: 'checkpointed', timeMs, task, claim, blob, bytes, references, cursor }],
    DONE,
  ];
}

function loseCheckpoint(state: JobState, message: Message<'lose-checkpoint'>): Decision {
  const { task, claim, blob, reason, nowMs: timeMs } = message;
  if (!holds(state, task, claim)) return [[], lost(state, task)];
  const newest = state.tasks[task]?.checkpoint;
  if (newest?.blob !== blob) return [[], DONE]; // already fallen back from
  const { cursor } = newest;
  return [[{ v: 2, type: 'checkpoint-lost', timeMs, task, claim, blob, cursor, reason }], DONE];
}

function release(state: JobState, message: Message<'release'>): Decision {
  const { task, claim, nowMs: timeMs } = message;
  if (!holds(state, task, claim)) return [[], DONE]; // taken over or ended meanwhile
  return [[{ v: 1, type: 'released', timeMs, task, claim }], DONE];
}

function fail(state: JobState, message: Message<'fail'>): Decision {
  const { task: index, claim, error, nowMs: timeMs } = message;
  const task = state.tasks[index];
  if (task === undefined || !holds(state, index, claim)) return [[], DONE];
  if (!error.retryable || task.attempts >= state.attemptsMax) {
    return [[{ v: 1, type: 'failed', timeMs, error }], DONE];
  }
  const delayMs = Math.min(
    JOB_LIMITS.backoffMaxMs,
    JOB_LIMITS.backoffBaseMs * 2 ** Math.max(0, task.attempts - 1),
  );
  return [
    [
      {
        v: 1,
        type: 'attempt-failed',
        timeMs,
        task: index,
        claim,
        error,
        retryAtMs: timeMs + delayMs,
      },
    ],
    DONE,
  ];
}

function done(state: JobState, message: Message<'done'>): Decision {
  const { task, claim, blob, bytes, references, provenance, retained, nowMs: timeMs } = message;
  const held = state.tasks[task];
  if (held?.phase === 'done' && held.claim === claim) return [[], DONE];
  if (!holds(state, task, claim)) return [[], lost(state, task)];
  const charged = retained === undefined ? {} : { retained };
  const output = { blob, bytes, references, provenance, ...charged };
  const events: JobEvent[] = [{ v: 1, type: 'task-done', timeMs, task, claim, ...output }];
  const open = state.tasks.filter((other) => other.phase !== 'done').length;
  if (open === 1) events.push({ v: 1, type: 'completed', timeMs, ...output });
  return [events, DONE];
}

function command(state: JobState, message: Message<'pause' | 'resume' | 'cancel'>): Decision {
  const { status } = state;
  const timeMs = message.nowMs;
  switch (message.type) {
    case 'pause':
      if (status === 'paused') return [[], DONE];
      if (status === 'active') return [[{ v: 1, type: 'paused', timeMs }], DONE];
      break;
    case 'resume':
      if (status === 'active') return [[], DONE];
      if (status === 'paused' || (status === 'failed' && state.error?.retryable)) {
        return [[{ v: 1, type: 'resumed', timeMs }], DONE];
      }
      break;
    case 'cancel':
      if (status === 'cancelled') return [[], DONE];
      if (!isSettled(status)) return [[{ v: 1, type: 'cancelled', timeMs }], DONE];
      break;
    default:
      return unreachable(message.type);
  }
  return [
    [],
    refuse(
      'failed_precondition',
      `job ${state.id} is ${status}: it cannot be ${PAST[message.type]}`,
    ),
  ];
}

const PAST = { pause: 'paused', resume: 'resumed', cancel: 'cancelled' } as const;

function lost(state: JobState, task: number): JobReply {
  const why = isSettled(state.status) ? `the job is ${state.status}` : 'another attempt holds it';
  return refuse('aborted', `task ${task} of job ${state.id} is no longer yours: ${why}`, { task });
}

function refuse(code: JobError['code'], message: string, details: Details = {}): JobReply {
  const retryable = code === 'unavailable';
  return { type: 'refuse', error: { code, message, retryable, details } };
}
