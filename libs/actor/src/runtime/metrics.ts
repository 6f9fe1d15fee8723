import type { MetricSpec, Metrics } from '@heddle/ports';
import type { JobMessage } from '../job/messages.ts';

const SECONDS = [0.1, 0.5, 1, 5, 15, 60, 300, 1_800, 7_200, 28_800] as const;

const MESSAGES: readonly JobMessage['type'][] = [
  'submit',
  'start',
  'checkpoint',
  'lose-checkpoint',
  'release',
  'fail',
  'done',
  'pause',
  'resume',
  'cancel',
  'pin',
  'touch',
  'forget',
];

/** The catalogue of what jobs report; kinds are those registered, so the label's values are closed. */
export function jobMetrics(kinds: readonly string[]): readonly MetricSpec[] {
  const kind = { kind: kinds };
  return [
    {
      name: 'jobs_submitted_total',
      kind: 'counter',
      unit: 'jobs',
      help: 'Jobs accepted',
      labels: kind,
    },
    {
      name: 'jobs_refused_total',
      kind: 'counter',
      unit: 'jobs',
      help: 'Jobs refused at admission: queue full, past a budget or past a quota of their tenant',
      labels: { ...kind, reason: ['queue', 'budget', 'quota'] },
    },
    {
      name: 'jobs_settled_total',
      kind: 'counter',
      unit: 'jobs',
      help: 'Jobs that ended, by how',
      labels: { ...kind, outcome: ['completed', 'failed', 'cancelled'] },
    },
    {
      name: 'jobs_duration_seconds',
      kind: 'histogram',
      unit: 'seconds',
      help: 'From submission to the end',
      labels: { ...kind, outcome: ['completed', 'failed', 'cancelled'] },
      buckets: SECONDS,
    },
    {
      name: 'jobs_attempts_total',
      kind: 'counter',
      unit: 'attempts',
      help: 'Attempts at tasks, by how they ended; stale means that the message had nothing left to do',
      labels: { ...kind, outcome: ['done', 'failed', 'released', 'lost', 'stale'] },
    },
    {
      name: 'jobs_redeliveries_total',
      kind: 'counter',
      unit: 'deliveries',
      help: 'Messages of tasks that had been delivered before: their worker ended, froze, was cut off or handed them back',
      labels: kind,
    },
    {
      name: 'jobs_checkpoint_bytes_total',
      kind: 'counter',
      unit: 'bytes',
      help: 'Bytes of committed checkpoints',
      labels: kind,
    },
    {
      name: 'jobs_checkpoints_lost_total',
      kind: 'counter',
      unit: 'checkpoints',
      help: 'Checkpoints that were found damaged; their jobs went on from the ones before',
      labels: kind,
    },
    ...jobGauges(kind),
    {
      name: 'jobs_appends_fenced_total',
      kind: 'counter',
      unit: 'appends',
      help: 'Appends refused by their expected sequence, by what was decided: another replica was faster, or a worker had lost its place',
      labels: { message: MESSAGES },
    },
    {
      name: 'jobs_effects_lost_total',
      kind: 'counter',
      unit: 'effects',
      help: 'Effects that could not be done after their commit; the reconciler issues them again',
    },
    {
      name: 'jobs_actor_falls_total',
      kind: 'counter',
      unit: 'falls',
      help: 'Actors that broke an invariant and were folded from the journal again',
    },
  ];
}

/** What is there now, looked at every 10 s: by each process of a service, so that most are the same number several times. */
function jobGauges(kind: { readonly kind: readonly string[] }): readonly MetricSpec[] {
  return [
    {
      name: 'jobs_queue_messages',
      kind: 'gauge',
      unit: 'messages',
      help: 'Tasks on the queue',
      labels: { ...kind, state: ['waiting', 'working'] },
    },
    {
      name: 'jobs_tasks_held',
      kind: 'gauge',
      unit: 'tasks',
      help: 'Tasks that wait in this process until those of their tenant leave the queue',
      labels: kind,
    },
    {
      name: 'jobs_open',
      kind: 'gauge',
      unit: 'jobs',
      help: 'Unfinished jobs of the journal; every process of a service sees the same, so take the largest',
      labels: { ...kind, status: ['queued', 'running', 'paused'] },
    },
    {
      name: 'jobs_oldest_queued_seconds',
      kind: 'gauge',
      unit: 'seconds',
      help: 'How long the job that has waited longest has had no worker; 0 when none waits',
      labels: kind,
    },
    {
      name: 'jobs_worker_slots',
      kind: 'gauge',
      unit: 'slots',
      help: 'Tasks that this process can work on at a time; 0 with HEDDLE_WORK=none',
      labels: kind,
    },
    {
      name: 'jobs_worker_slots_busy',
      kind: 'gauge',
      unit: 'slots',
      help: 'Tasks that this process works on now',
      labels: kind,
    },
    {
      name: 'jobs_dead_letters',
      kind: 'gauge',
      unit: 'messages',
      help: 'Messages that were given up and kept for people to read',
      labels: kind,
    },
    {
      name: 'jobs_journals_unreadable',
      kind: 'gauge',
      unit: 'jobs',
      help: 'Jobs whose journal has a gap or cannot be read: left alone until it is restored',
    },
  ];
}

/** Records only what is in the catalogue: jobs of kinds that other processes run pass through here too. */
export class JobMeters {
  private readonly metrics: Metrics;
  private kinds: ReadonlySet<string> | undefined;

  constructor(metrics: Metrics) {
    this.metrics = metrics;
  }

  open(kinds: readonly string[]): void {
    this.kinds = new Set(kinds);
    this.metrics.register(jobMetrics(kinds));
  }

  count(name: string, kind: string, labels: Readonly<Record<string, string>> = {}, by = 1): void {
    if (this.kinds?.has(kind)) this.metrics.add(name, by, { kind, ...labels });
  }

  observe(
    name: string,
    kind: string,
    value: number,
    labels: Readonly<Record<string, string>>,
  ): void {
    if (this.kinds?.has(kind)) this.metrics.observe(name, value, { kind, ...labels });
  }

  gauge(
    name: string,
    kind: string,
    value: number,
    labels: Readonly<Record<string, string>> = {},
  ): void {
    if (this.kinds?.has(kind)) this.metrics.set(name, value, { kind, ...labels });
  }

  /** Of what belongs to no kind. */
  level(name: 'jobs_journals_unreadable', value: number): void {
    if (this.kinds !== undefined) this.metrics.set(name, value);
  }

  event(
    name: 'jobs_effects_lost_total' | 'jobs_actor_falls_total' | 'jobs_appends_fenced_total',
    labels: Readonly<Record<string, string>> = {},
  ): void {
    if (this.kinds !== undefined) this.metrics.add(name, 1, labels);
  }
}
