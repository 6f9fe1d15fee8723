import type { MetricSpec } from '@heddle/ports';

export const ATTRIBUTION_METRICS: readonly MetricSpec[] = [
  {
    name: 'attribution_service_attribution_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time of one attribution, with capture and weights',
    labels: { question: ['score', 'logit'] },
    buckets: [0.1, 0.3, 1, 3, 10, 30],
  },
  {
    name: 'attribution_service_sums_total',
    kind: 'counter',
    unit: 'sums',
    help: 'Sums of sources against the value of the model: within 1e-4 of the terms, or not',
    labels: { outcome: ['holds', 'fails'] },
  },
];
