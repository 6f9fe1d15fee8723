import type { AlertGroup } from './alert.ts';

/** Who is there, who answers, and who falls over again and again. */
export const AVAILABILITY: AlertGroup = {
  name: 'heddle-availability',
  alerts: [
    {
      name: 'HeddleServiceDown',
      severity: 'critical',
      // Also one whose pods are gone altogether: a target that no longer exists has no `up` to be 0.
      expr: `max by (namespace, service) (max_over_time(up{job="heddle", role="service"}[1h])) == 1
unless on (namespace, service) max by (namespace, service) (up{job="heddle", role="service"}) == 1`,
      for: '2m',
      summary: '{{ $labels.service }} in {{ $labels.namespace }} has no process left',
      description:
        'No process of {{ $labels.service }} has answered a scrape for 2 minutes. Its calls are answered UNAVAILABLE; its jobs wait.',
    },
    {
      name: 'HeddleServiceNotReady',
      severity: 'critical',
      expr: 'max by (namespace, service) (heddle_ready{role="service"}) == 0',
      for: '2m',
      summary: 'No process of {{ $labels.service }} in {{ $labels.namespace }} is ready',
      description:
        'All processes of {{ $labels.service }} run, and health of all of them says NOT_SERVING: they start, drain, or lack their journal.',
    },
    {
      name: 'HeddleInstanceDown',
      severity: 'warning',
      expr: 'up{job="heddle"} == 0',
      for: '5m',
      summary: '{{ $labels.instance }} ({{ $labels.service }}) does not answer',
      description:
        '{{ $labels.instance }} in {{ $labels.namespace }} has not answered a scrape for 5 minutes. What it worked on went to others once its ack wait was over.',
    },
    {
      name: 'HeddleInstanceNotReady',
      severity: 'warning',
      expr: 'heddle_ready == 0',
      for: '15m',
      summary: '{{ $labels.instance }} ({{ $labels.service }}) is not getting ready',
      description:
        '{{ $labels.instance }} in {{ $labels.namespace }} runs and has not been ready for 15 minutes; fetching models takes at most 10 (HEDDLE_PREFETCH_SECONDS).',
    },
    {
      name: 'HeddleRestarts',
      severity: 'warning',
      expr: 'changes(process_start_time_seconds{job="heddle"}[30m]) > 2',
      for: '0m',
      summary:
        '{{ $labels.instance }} ({{ $labels.service }}) was started {{ $value }} times in 30 minutes',
      description:
        '{{ $labels.instance }} in {{ $labels.namespace }} ends and is started again, {{ $value }} times in 30 minutes: killed for its memory, a task that could not be stopped, or a configuration that it refuses.',
    },
    {
      name: 'HeddleEventLoopBlocked',
      severity: 'warning',
      expr: 'nodejs_eventloop_lag_p99_seconds{job="heddle"} > 1',
      for: '5m',
      summary: '{{ $labels.instance }} ({{ $labels.service }}) answers late',
      description:
        'The event loop of {{ $labels.instance }} in {{ $labels.namespace }} is blocked for {{ $value | humanizeDuration }} at a time. At a third of the ack wait its heartbeats come too late, and tasks are taken from it.',
    },
    {
      name: 'HeddleVersionsDiffer',
      severity: 'info',
      expr: 'count by (namespace) (count by (namespace, version) (heddle_build_info)) > 1',
      for: '1h',
      summary: '{{ $value }} versions of Heddle run in {{ $labels.namespace }}',
      description:
        '{{ $value }} versions have run side by side for an hour: a rollout has not finished. They work together, but what is new works only where it is.',
    },
    {
      name: 'HeddleTracesLost',
      severity: 'info',
      expr: 'sum by (namespace, outcome) (increase(heddle_spans_total{outcome=~"lost|dropped"}[15m])) > 0',
      for: '15m',
      summary: 'Traces of {{ $labels.namespace }} have holes: spans are {{ $labels.outcome }}',
      description:
        '{{ $value | humanize }} spans were {{ $labels.outcome }} in 15 minutes, and it goes on: lost is a receiver that is away or refuses them, dropped one that is too slow. Work and its results go on.',
    },
    {
      name: 'HeddleCertificateEnding',
      severity: 'warning',
      expr: 'min by (namespace, service) (heddle_certificate_expiry_seconds) - time() < 24 * 3600',
      for: '10m',
      summary:
        'A certificate of {{ $labels.service }} in {{ $labels.namespace }} ends within a day',
      description:
        'The certificate that {{ $labels.service }} uses ends in {{ $value | humanizeDuration }}. It is renewed at two thirds of its life: this one was not.',
    },
    {
      name: 'HeddleCertificateEnded',
      severity: 'critical',
      expr: 'min by (namespace, service) (heddle_certificate_expiry_seconds) - time() < 3600',
      for: '0m',
      summary:
        'A certificate of {{ $labels.service }} in {{ $labels.namespace }} ends within the hour, or has ended',
      description:
        'The certificate that {{ $labels.service }} uses ends in {{ $value | humanizeDuration }}. From then on no other service and no client talks to it.',
    },
  ],
};
