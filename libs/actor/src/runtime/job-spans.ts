import { OperationError } from '@heddle/core';
import type { Delivery, Span, SpanSpec, TraceContext, Tracing } from '@heddle/ports';
import type { JobState } from '../job/state.ts';
import { queueOf } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';

/** A job that is accepted; its tasks follow from this. */
export function acceptSpan(
  tracing: Tracing,
  { id, kind, tasks }: { readonly id: string; readonly kind: string; readonly tasks: number },
): Span {
  return tracing.begin({
    name: `accept ${kind}`,
    kind: 'producer',
    attributes: { ...ofJob(id, kind), 'heddle.job.tasks': tasks, ...ofQueue(kind, 'send') },
  });
}

export interface TracedAttempt {
  readonly state: JobState;
  readonly task: number;
  readonly attempt: number;
  readonly delivery: Pick<Delivery, 'attempt'>;
  readonly nowMs: number;
}

/** One attempt at a task, from when it was granted: the queue gave it, whatever process asked for it and whenever. */
export function attemptSpan(
  tracing: Tracing,
  { state, task, attempt, ...rest }: TracedAttempt,
): Span {
  const { id, kind, reduce, tasks, createdMs } = state;
  const ageMs = Math.max(0, rest.nowMs - createdMs);
  return tracing.begin({
    name: `work ${kind}`,
    kind: 'consumer',
    ...originOf(state, ageMs),
    attributes: {
      ...ofJob(id, kind),
      'heddle.task.index': task,
      'heddle.task.reduces': reduce && task === tasks.length - 1 ? true : undefined,
      'heddle.task.attempt': attempt,
      'heddle.task.delivery': rest.delivery.attempt,
      'heddle.job.age_ms': ageMs,
      ...ofQueue(kind, 'process'),
    },
  });
}

/** A part of its job's trace; of one that is old or large only linked to it (see `JOB_LIMITS.tracedMs`). */
function originOf({ trace, tasks }: JobState, ageMs: number): Pick<SpanSpec, 'parent' | 'link'> {
  if (trace === undefined) return { parent: null };
  const origin: TraceContext = { traceparent: trace };
  const isPart = ageMs <= JOB_LIMITS.tracedMs && tasks.length <= JOB_LIMITS.tracedTasksMax;
  return isPart ? { parent: origin } : { parent: null, link: origin };
}

/** Runs the body as a part of the span, and ends it with what the body came to. */
export async function inSpan<T>(span: Span, body: () => Promise<T>): Promise<T> {
  try {
    const value = await span.within(body);
    span.end();
    return value;
  } catch (thrown) {
    span.end(OperationError.from(thrown));
    throw thrown;
  }
}

const ofJob = (id: string, kind: string) => ({ 'heddle.job.id': id, 'heddle.job.kind': kind });

const ofQueue = (kind: string, operation: 'send' | 'process') => ({
  'messaging.system': 'heddle',
  'messaging.destination.name': queueOf(kind),
  'messaging.operation.type': operation,
});
