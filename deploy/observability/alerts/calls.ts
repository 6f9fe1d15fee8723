import type { AlertGroup } from './alert.ts';

/** What callers are told. */
export const CALLS: AlertGroup = {
  name: 'heddle-calls',
  alerts: [
    {
      name: 'HeddleCallsFail',
      severity: 'critical',
      expr: `sum by (namespace, service) (namespace_service_code:grpc_calls:rate5m{code=~"internal|unknown|data_loss"})
/ (namespace_service:grpc_calls:rate5m > 0.05) > 0.05`,
      for: '10m',
      summary: 'Calls to {{ $labels.service }} in {{ $labels.namespace }} fail',
      description:
        '{{ $value | humanizePercentage }} of the calls to {{ $labels.service }} have ended with INTERNAL, UNKNOWN or DATA_LOSS for 10 minutes: faults of the service, not of its callers.',
    },
    {
      name: 'HeddleCallsUnavailable',
      severity: 'warning',
      expr: `sum by (namespace, service) (namespace_service_code:grpc_calls:rate5m{code="unavailable"})
/ (namespace_service:grpc_calls:rate5m > 0.05) > 0.1`,
      for: '10m',
      summary: 'Calls to {{ $labels.service }} in {{ $labels.namespace }} are answered UNAVAILABLE',
      description:
        '{{ $value | humanizePercentage }} of the calls to {{ $labels.service }} have been UNAVAILABLE for 10 minutes: what it needs (another service, NATS, its engine) is away.',
    },
    {
      name: 'HeddleOverloaded',
      severity: 'warning',
      expr: `sum by (namespace, service) (namespace_service_code:grpc_calls:rate5m{code="resource_exhausted"})
/ (namespace_service:grpc_calls:rate5m > 0.05) > 0.1`,
      for: '10m',
      summary: '{{ $labels.service }} in {{ $labels.namespace }} refuses calls',
      description:
        '{{ $value | humanizePercentage }} of the calls to {{ $labels.service }} have been refused with RESOURCE_EXHAUSTED for 10 minutes: more comes than it can answer.',
    },
    {
      name: 'HeddleCallersRefused',
      severity: 'info',
      expr: 'sum by (namespace, service) (namespace_service_code:grpc_calls:rate5m{code=~"unauthenticated|permission_denied"}) > 1',
      for: '10m',
      summary: 'Callers of {{ $labels.service }} in {{ $labels.namespace }} are turned away',
      description:
        '{{ $value | humanize }} calls a second show no valid token, or one that may not do what is asked.',
    },
  ],
};
