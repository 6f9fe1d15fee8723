import { assert, type Json, resourceExhausted } from '@heddle/core';
import type { WorkQueue } from '@heddle/ports';
import type { SplitTask } from '../job/events.ts';
import { queueOf } from '../job/task-message.ts';
import { JOB_LIMITS } from '../limits.ts';
import type { Estimate, JobKind, KindLimits } from './job-kind.ts';
import type { JobMeters } from './metrics.ts';

/** A kind with its limits filled in. */
export interface Registered {
  readonly kind: JobKind;
  readonly limits: KindLimits;
}

/**
 * Whether a new job is taken: its estimate within every budget, and room in the queue of its kind. Errors:
 * `resource_exhausted` with the estimate, or with when to try again; those of the kind's own estimate.
 */
export async function admit(
  { kind, limits }: Registered,
  request: Json,
  {
    budgets,
    queue,
    meters,
  }: {
    readonly budgets: readonly Partial<Estimate>[];
    readonly queue: WorkQueue;
    readonly meters: JobMeters;
  },
): Promise<void> {
  const estimate = await kind.estimate?.(request);
  for (const budget of budgets) {
    for (const unit of ['bytes', 'seconds'] as const) {
      const most = budget[unit];
      if (estimate === undefined || most === undefined || estimate[unit] <= most) continue;
      meters.count('jobs_refused_total', kind.kind, { reason: 'budget' });
      throw resourceExhausted(
        `this job is estimated at ${estimate[unit]} ${unit}, the budget is ${most}: ask for less or allow more`,
        { field: `budget.${unit}`, retryable: false, details: { ...estimate, budget: most } },
      );
    }
  }
  const { waiting } = await queue.depth(queueOf(kind.kind));
  meters.gauge('jobs_queue_messages', kind.kind, waiting, { state: 'waiting' });
  if (waiting < limits.queuedMax) return;
  meters.count('jobs_refused_total', kind.kind, { reason: 'queue' });
  throw resourceExhausted(`${waiting} tasks of ${kind.kind} wait already: try again later`, {
    retryAfterMs: JOB_LIMITS.queueFullRetryMs,
    details: { waiting, queuedMax: limits.queuedMax },
  });
}

/** The tasks of a job, at least one. Errors: `resource_exhausted` for too many. */
export async function splitTasks(kind: JobKind, request: Json): Promise<readonly SplitTask[]> {
  const tasks = await kind.split(request);
  assert(tasks.length > 0, () => `${kind.kind} splits into nothing`);
  if (tasks.length > JOB_LIMITS.tasksMax) {
    throw resourceExhausted(
      `this job falls into ${tasks.length} tasks, at most ${JOB_LIMITS.tasksMax} are taken: ask for less at once`,
      { retryable: false, details: { tasks: tasks.length, tasksMax: JOB_LIMITS.tasksMax } },
    );
  }
  return tasks.map(({ input, references = [] }) => ({ input, references }));
}
