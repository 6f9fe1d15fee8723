import type { AlertGroup } from './alert.ts';

/** Engines, models and the numbers that come out. */
export const COMPUTE: AlertGroup = {
  name: 'heddle-compute',
  alerts: [
    {
      name: 'HeddleEngineDied',
      severity: 'warning',
      expr: 'sum by (namespace, service, instance) (increase(engine_runs_total{outcome="died"}[15m])) > 0',
      for: '0m',
      summary: 'The engine of {{ $labels.instance }} ({{ $labels.service }}) died',
      description:
        '{{ $value | humanize }} plans of {{ $labels.instance }} in {{ $labels.namespace }} lost their worker thread in 15 minutes. It is started again; after several times in a row no more.',
    },
    {
      name: 'HeddleProviderRefused',
      severity: 'warning',
      expr: 'engine_provider_refused == 1',
      for: '5m',
      summary:
        '{{ $labels.instance }} ({{ $labels.service }}) does not run on {{ $labels.provider }}',
      description:
        '{{ $labels.instance }} in {{ $labels.namespace }} is configured for {{ $labels.provider }}, which did not serve when its engine started; it computes on the next provider of HEDDLE_PROVIDERS.',
    },
    {
      name: 'HeddleEngineRefuses',
      severity: 'warning',
      expr: 'sum by (namespace, service, instance) (increase(engine_runs_total{outcome="refused"}[15m])) > 0',
      for: '0m',
      summary: 'The engine of {{ $labels.instance }} ({{ $labels.service }}) refuses plans',
      description:
        '{{ $value | humanize }} plans of {{ $labels.instance }} in {{ $labels.namespace }} were refused in 15 minutes: 1024 wait already, or one needs more than HEDDLE_CACHE_GIB.',
    },
    {
      name: 'HeddleSessionsThrash',
      severity: 'info',
      expr: `sum by (namespace, instance) (rate(activation_session_evictions_total[15m])) > 0.1
and on (namespace, instance) sum by (namespace, instance) (rate(activation_session_lookups_total{result="miss"}[15m]))
/ sum by (namespace, instance) (rate(activation_session_lookups_total[15m])) > 0.5`,
      for: '30m',
      summary: 'Weights push each other out of memory on {{ $labels.instance }}',
      description:
        'More than half of the segments asked for on {{ $labels.instance }} in {{ $labels.namespace }} are loaded again, {{ $value | humanize }} evictions a second: HEDDLE_CACHE_GIB is smaller than the models in use.',
    },
    {
      name: 'HeddleTrainingStandsStill',
      severity: 'warning',
      expr: `sum by (namespace) (jobs_worker_slots_busy{kind="lorsa.train"}) > 0
unless on (namespace) sum by (namespace) (increase(lorsa_trainer_steps_total[30m])) > 0`,
      for: '30m',
      summary: '{{ $value }} trainings in {{ $labels.namespace }} make no steps',
      description:
        '{{ $value }} tasks of lorsa.train are held by workers and no step was done in 30 minutes: they wait for activations, or hang.',
    },
    {
      name: 'HeddleSumsDoNotHold',
      severity: 'warning',
      expr: 'sum by (namespace) (increase(attribution_service_sums_total{outcome="fails"}[1h])) > 0',
      for: '0m',
      summary: 'Attributions in {{ $labels.namespace }} do not add up to what the model computes',
      description:
        '{{ $value | humanize }} attributions within the hour differ from the model’s own value by more than 1e-4 of their terms. Their results say so.',
    },
  ],
};
