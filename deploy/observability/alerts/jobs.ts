import type { AlertGroup } from './alert.ts';

/** What people wait for: whether it moves, whether it ends well, and whether the machinery under it is sound. */
export const JOBS: AlertGroup = {
  name: 'heddle-jobs',
  alerts: [
    {
      name: 'HeddleQueueStandsStill',
      severity: 'critical',
      // Workers from zero take minutes to come (a node, an image, models): 15 of them are a fault.
      expr: `namespace_kind:jobs_queue_waiting:max > 0
unless on (namespace, kind) namespace_kind:jobs_queue_working:max > 0
unless on (namespace, kind) sum by (namespace, kind) (increase(jobs_attempts_total[15m])) > 0`,
      for: '15m',
      summary:
        '{{ $value }} tasks of {{ $labels.kind }} wait in {{ $labels.namespace }}, and nobody works',
      description:
        '{{ $value }} tasks of {{ $labels.kind }} have waited for 15 minutes without any attempt: there are no workers, or they cannot pull.',
    },
    {
      name: 'HeddleJobsWaitLong',
      severity: 'warning',
      expr: 'max by (namespace, kind) (jobs_oldest_queued_seconds) > 3600',
      for: '5m',
      summary:
        'A job of {{ $labels.kind }} in {{ $labels.namespace }} has waited {{ $value | humanizeDuration }}',
      description:
        'The oldest waiting job of {{ $labels.kind }} has had no worker for {{ $value | humanizeDuration }}.',
    },
    {
      name: 'HeddleWorkersSaturated',
      severity: 'info',
      expr: `namespace_kind:jobs_queue_waiting:max > 0
and on (namespace, kind) (namespace_kind:jobs_worker_slots:sum > 0)
and on (namespace, kind) (namespace_kind:jobs_worker_slots_busy:sum >= namespace_kind:jobs_worker_slots:sum)`,
      for: '30m',
      summary:
        'All workers of {{ $labels.kind }} in {{ $labels.namespace }} are busy, and {{ $value }} tasks wait',
      description:
        'For 30 minutes every slot of {{ $labels.kind }} has been busy while {{ $value }} tasks wait. More workers would shorten the wait.',
    },
    {
      name: 'HeddleTasksHeld',
      severity: 'info',
      expr: `max by (namespace, kind) (jobs_tasks_held) > 0
and on (namespace, kind) (namespace_kind:jobs_worker_slots:sum - namespace_kind:jobs_worker_slots_busy:sum > 0)`,
      for: '15m',
      summary:
        '{{ $value }} tasks of {{ $labels.kind }} in {{ $labels.namespace }} are held back while workers are idle',
      description:
        'A tenant’s window is full ({{ $value }} tasks wait in memory) and slots of {{ $labels.kind }} are free: HEDDLE_WINDOW_TASKS is smaller than the number of workers, or differs between processes.',
    },
    {
      name: 'HeddleJobsRefused',
      severity: 'warning',
      expr: 'sum by (namespace, kind, reason) (increase(jobs_refused_total{reason=~"queue|budget"}[15m])) > 0',
      for: '0m',
      summary:
        'Jobs of {{ $labels.kind }} are refused in {{ $labels.namespace }} ({{ $labels.reason }})',
      description:
        '{{ $value | humanize }} jobs of {{ $labels.kind }} were refused in 15 minutes: the queue is full, or the estimate is past the budget (HEDDLE_JOB_GIB).',
    },
    {
      name: 'HeddleQuotaReached',
      severity: 'info',
      expr: 'sum by (namespace, kind) (increase(jobs_refused_total{reason="quota"}[15m])) > 10',
      for: '0m',
      summary: 'A tenant in {{ $labels.namespace }} is at its quota ({{ $labels.kind }})',
      description:
        '{{ $value | humanize }} jobs of {{ $labels.kind }} were refused in 15 minutes because their tenant has as many jobs, tasks or bytes as it may.',
    },
    {
      name: 'HeddleJobsFail',
      severity: 'warning',
      expr: `namespace_kind_outcome:jobs_settled:increase30m{outcome="failed"} > 2
and on (namespace, kind) sum by (namespace, kind) (namespace_kind_outcome:jobs_settled:increase30m{outcome="failed"})
/ sum by (namespace, kind) (namespace_kind_outcome:jobs_settled:increase30m) > 0.2`,
      for: '5m',
      summary:
        '{{ $value | humanize }} jobs of {{ $labels.kind }} failed in {{ $labels.namespace }}',
      description:
        '{{ $value | humanize }} jobs of {{ $labels.kind }} failed in 30 minutes, more than a fifth of those that ended.',
    },
    {
      name: 'HeddleRedeliveries',
      severity: 'warning',
      expr: 'sum by (namespace, kind) (increase(jobs_redeliveries_total[15m])) > 10',
      for: '5m',
      summary: 'Tasks of {{ $labels.kind }} in {{ $labels.namespace }} come again and again',
      description:
        '{{ $value | humanize }} tasks of {{ $labels.kind }} were delivered another time in 15 minutes: their workers ended, froze, or were cut off.',
    },
    {
      name: 'HeddleWorkLost',
      severity: 'warning',
      expr: 'sum by (namespace, kind) (increase(jobs_attempts_total{outcome="lost"}[30m])) > 3',
      for: '0m',
      summary:
        'Workers of {{ $labels.kind }} in {{ $labels.namespace }} compute what nobody may keep',
      description:
        '{{ $value | humanize }} attempts in 30 minutes ended after their task was given to another worker: heartbeats come later than the ack wait.',
    },
    {
      name: 'HeddleFenceStorm',
      severity: 'warning',
      expr: `sum by (namespace) (rate(jobs_appends_fenced_total[5m])) > 1
and on (namespace) sum by (namespace) (namespace_operation_outcome:stores_operations:rate5m{operation="journal.append", outcome="aborted"})
/ sum by (namespace) (namespace_operation_outcome:stores_operations:rate5m{operation="journal.append"}) > 0.3`,
      for: '10m',
      summary: 'Processes of {{ $labels.namespace }} fight over the same jobs',
      description:
        '{{ $value | humanize }} appends a second are refused by the fence, more than three in ten: several processes decide about the same jobs at once.',
    },
    {
      name: 'HeddleDeadLetters',
      severity: 'warning',
      expr: 'max by (namespace, kind) (delta(jobs_dead_letters[1h])) > 0',
      for: '0m',
      summary: 'A task of {{ $labels.kind }} in {{ $labels.namespace }} was given up',
      description:
        '{{ $value | humanize }} messages of {{ $labels.kind }} were buried within the hour: delivered 50 times and never acknowledged, or no task at all.',
    },
    {
      name: 'HeddleCheckpointsLost',
      severity: 'warning',
      expr: 'sum by (namespace, kind) (increase(jobs_checkpoints_lost_total[1h])) > 0',
      for: '0m',
      summary: 'Checkpoints of {{ $labels.kind }} in {{ $labels.namespace }} are damaged',
      description:
        '{{ $value | humanize }} checkpoints were found damaged within the hour; their jobs went on from the ones before.',
    },
    {
      name: 'HeddleJournalUnreadable',
      severity: 'critical',
      expr: 'max by (namespace) (jobs_journals_unreadable) > 0',
      for: '1m',
      summary: '{{ $value }} jobs of {{ $labels.namespace }} cannot be read from the journal',
      description:
        'The events of {{ $value }} jobs have a gap or cannot be decoded. These jobs are left alone; gc frees nothing while their needs are unknown.',
    },
    {
      name: 'HeddleEffectsLost',
      severity: 'warning',
      expr: 'sum by (namespace) (increase(jobs_effects_lost_total[15m])) > 10',
      for: '5m',
      summary: 'Decisions of {{ $labels.namespace }} are committed and not carried out at once',
      description:
        '{{ $value | humanize }} effects in 15 minutes could not be done after their commit. The reconciler issues each again within 10 s, so jobs are late, not lost.',
    },
    {
      name: 'HeddleActorFalls',
      severity: 'critical',
      expr: 'sum by (namespace, service) (increase(jobs_actor_falls_total[1h])) > 0',
      for: '0m',
      summary: 'A job of {{ $labels.service }} in {{ $labels.namespace }} broke an invariant',
      description:
        '{{ $value | humanize }} times within the hour an actor came into a state that must not be, and was folded from the journal again. This is a fault of Heddle.',
    },
  ],
};
