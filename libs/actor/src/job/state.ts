import { assert, type Json, present, unreachable } from '@heddle/core';
import type {
  JobError,
  JobEvent,
  KeptBlob,
  KeptOutput,
  Split,
  SplitTask,
  Submitted,
} from './events.ts';

export type JobStatus = 'absent' | 'active' | 'paused' | 'completed' | 'failed' | 'cancelled';

export interface Checkpoint extends KeptBlob {
  readonly cursor: number;
}

export interface TaskState extends SplitTask {
  readonly phase: 'ready' | 'running' | 'done';
  /** Sequence of the event that made it ready: names its message on the queue, so that older ones are known as stale. */
  readonly readySequence: number;
  /** Not before this: the backoff after a failed attempt. */
  readonly readyAtMs: number;
  /** Whose work counts; set while running and after. */
  readonly claim: string | undefined;
  /** Starts since the last checkpoint that went further. */
  readonly attempts: number;
  /** The newest, and the one before it: what a task goes on from when the newest is damaged. */
  readonly checkpoint: Checkpoint | undefined;
  readonly earlier: Checkpoint | undefined;
  readonly output: KeptOutput | undefined;
}

/** A job, as its events make it. */
export interface JobState {
  readonly id: string;
  /** Of the last event folded: what the next append expects. */
  readonly sequence: number;
  /** `absent` with a sequence: it was forgotten, and its journal is about to go. */
  readonly status: JobStatus;
  /** Whose it is; undefined where nobody said (see `ownerOf`). */
  readonly tenant: string | undefined;
  readonly kind: string;
  readonly key: string;
  readonly request: Json;
  readonly pinned: boolean;
  readonly attemptsMax: number;
  /** `traceparent` of who asked for it; undefined where nothing was traced. */
  readonly trace: string | undefined;
  /** With a reduction, the last one is it. */
  readonly tasks: readonly TaskState[];
  readonly reduce: boolean;
  /** Attempts of all tasks, ever. */
  readonly starts: number;
  /** Checkpoints that were found damaged. Undefined until the first: states recorded before version 2 lack it. */
  readonly checkpointsLost: number | undefined;
  /** Attempts that failed or were lost with their process, and were made again. Undefined until the first, as above. */
  readonly setbacks: number | undefined;
  readonly createdMs: number;
  readonly startedMs: number | undefined;
  readonly updatedMs: number;
  readonly finishedMs: number | undefined;
  readonly error: JobError | undefined;
  readonly result: KeptOutput | undefined;
}

export function initialState(id: string): JobState {
  return {
    id,
    sequence: 0,
    status: 'absent',
    tenant: undefined,
    kind: '',
    key: '',
    request: null,
    pinned: false,
    attemptsMax: 0,
    trace: undefined,
    tasks: [],
    reduce: false,
    starts: 0,
    checkpointsLost: undefined,
    setbacks: undefined,
    createdMs: 0,
    startedMs: undefined,
    updatedMs: 0,
    finishedMs: undefined,
    error: undefined,
    result: undefined,
  };
}

/** Over for good (`failed` may yet be resumed, but nothing runs). */
export function isSettled(status: JobStatus): boolean {
  return status === 'completed' || status === 'failed' || status === 'cancelled';
}

/** Whose it is; empty: nobody's in particular, as where no tokens are asked for. */
export function ownerOf({ tenant }: Pick<JobState, 'tenant'>): string {
  return tenant ?? '';
}

/** Whether this claim's work on this task still counts: the fence, read from the state. */
export function holds(state: JobState, task: number, claim: string): boolean {
  if (state.status !== 'active' && state.status !== 'paused') return false;
  const held = state.tasks[task];
  return held !== undefined && held.phase === 'running' && held.claim === claim;
}

/**
 * The next state. An event that could not have been decided in this state breaks an assertion: the journal then holds
 * two histories, which the expected sequence rules out.
 */
export function fold(state: JobState, event: JobEvent): JobState {
  const next: JobState = { ...state, sequence: state.sequence + 1, updatedMs: event.timeMs };
  if (event.type === 'submitted') return submitted(next, event);
  assert(state.status !== 'absent', () => `${event.type} before submitted in ${state.id}`);
  switch (event.type) {
    case 'split':
      return split(next, event);
    case 'started':
    case 'checkpointed':
    case 'checkpoint-lost':
    case 'released':
    case 'attempt-failed':
    case 'task-done':
      return foldAttempt(next, event);
    case 'paused':
      assert(state.status === 'active', () => `paused while ${state.status} in ${state.id}`);
      return { ...next, status: 'paused' };
    case 'resumed':
      return resumed(state, next);
    case 'cancelled':
    case 'failed':
    case 'completed':
      return settled(state, next, event);
    case 'pinned':
      return { ...next, pinned: event.pinned };
    case 'forgotten':
      assert(isSettled(state.status), () => `forgotten while ${state.status}: ${next.id}`);
      return { ...initialState(next.id), sequence: next.sequence };
    default:
      return unreachable(event);
  }
}

function submitted(next: JobState, event: Submitted): JobState {
  assert(next.sequence === 1, () => `submitted twice: ${next.id}`);
  const { kind, key, request, pinned, attemptsMax, tenant, trace } = event;
  return {
    ...next,
    tenant,
    kind,
    key,
    request,
    pinned,
    attemptsMax,
    trace,
    status: 'active',
    createdMs: event.timeMs,
  };
}

function split(next: JobState, event: Split): JobState {
  assert(next.tasks.length === 0, () => `split twice: ${next.id}`);
  assert(event.tasks.length > 0, () => `split into nothing: ${next.id}`);
  const pieces = event.reduce ? [...event.tasks, { input: null, references: [] }] : event.tasks;
  const tasks = pieces.map(
    (piece): TaskState => ({
      ...piece,
      phase: 'ready',
      readySequence: next.sequence,
      readyAtMs: 0,
      claim: undefined,
      attempts: 0,
      checkpoint: undefined,
      earlier: undefined,
      output: undefined,
    }),
  );
  assert(event.reduce || event.tasks.length === 1, () => `nobody reduces ${next.id}`);
  return { ...next, tasks, reduce: event.reduce };
}

type AttemptEvent = Extract<JobEvent, { readonly claim: string }>;

function foldAttempt(next: JobState, event: AttemptEvent): JobState {
  const task = present(next.tasks[event.task], `task ${event.task} of ${next.id}`);
  assert(!isSettled(next.status), () => `${event.type} after ${next.status} in ${next.id}`);
  if (event.type === 'started') {
    assert(task.phase !== 'done', () => `started a done task ${event.task} of ${next.id}`);
    const running: TaskState = {
      ...task,
      phase: 'running',
      claim: event.claim,
      attempts: task.attempts + 1,
    };
    const begun = task.phase === 'running' ? setBack(next) : next; // whoever held it was lost
    return {
      ...withTask(begun, event.task, running),
      starts: next.starts + 1,
      startedMs: next.startedMs ?? event.timeMs,
    };
  }
  assert(task.phase === 'running', () => `${event.type} of a ${task.phase} task in ${next.id}`);
  assert(task.claim === event.claim, () => `${event.type} by a lost claim in ${next.id}`);
  const after = withTask(next, event.task, attemptOf(task, event, next.sequence));
  if (event.type === 'attempt-failed') return setBack(after);
  if (event.type !== 'checkpoint-lost') return after;
  return { ...after, checkpointsLost: (next.checkpointsLost ?? 0) + 1 };
}

const setBack = (state: JobState): JobState => ({ ...state, setbacks: (state.setbacks ?? 0) + 1 });

function attemptOf(
  task: TaskState,
  event: Exclude<AttemptEvent, { readonly type: 'started' }>,
  sequence: number,
): TaskState {
  switch (event.type) {
    case 'checkpointed': {
      const { blob, bytes, references, cursor } = event;
      const further = cursor > (task.checkpoint?.cursor ?? Number.NEGATIVE_INFINITY);
      const checkpoint = { blob, bytes, references, cursor };
      const earlier = task.checkpoint;
      return { ...task, checkpoint, earlier, attempts: further ? 0 : task.attempts };
    }
    case 'checkpoint-lost':
      assert(task.checkpoint?.blob === event.blob, () => `lost another checkpoint: ${event.blob}`);
      return { ...task, checkpoint: task.earlier, earlier: undefined };
    case 'released':
      // Handed back in good order: not an attempt that failed.
      return {
        ...ready(task, sequence, event.timeMs),
        attempts: Math.max(0, task.attempts - 1),
      };
    case 'attempt-failed':
      return ready(task, sequence, event.retryAtMs);
    case 'task-done': {
      return { ...task, phase: 'done', output: outputOf(event), earlier: undefined };
    }
    default:
      return unreachable(event);
  }
}

function resumed(state: JobState, next: JobState): JobState {
  const { status } = state;
  assert(status === 'paused' || status === 'failed', () => `resumed while ${status}: ${next.id}`);
  // Every claim is void: whoever still computes cannot commit, and the messages of before are stale.
  const tasks = state.tasks.map((task) =>
    task.phase === 'done' ? task : { ...ready(task, next.sequence, next.updatedMs), attempts: 0 },
  );
  return { ...next, tasks, status: 'active', error: undefined, finishedMs: undefined };
}

function settled(
  state: JobState,
  next: JobState,
  event: Extract<JobEvent, { readonly type: 'cancelled' | 'failed' | 'completed' }>,
): JobState {
  assert(!isSettled(state.status), () => `${event.type} after ${state.status} in ${state.id}`);
  const finished: JobState = { ...next, status: event.type, finishedMs: event.timeMs };
  if (event.type === 'failed') return { ...finished, error: event.error };
  if (event.type === 'cancelled') return finished;
  assert(
    state.tasks.every((task) => task.phase === 'done'),
    () => `completed with tasks to do: ${state.id}`,
  );
  return { ...finished, result: outputOf(event) };
}

function outputOf({ blob, bytes, references, provenance, retained }: KeptOutput): KeptOutput {
  return { blob, bytes, references, provenance, ...(retained === undefined ? {} : { retained }) };
}

function ready(task: TaskState, sequence: number, atMs: number): TaskState {
  return {
    ...task,
    phase: 'ready',
    readySequence: sequence,
    readyAtMs: atMs,
    claim: undefined,
  };
}

function withTask(state: JobState, index: number, task: TaskState): JobState {
  return { ...state, tasks: state.tasks.with(index, task) };
}
