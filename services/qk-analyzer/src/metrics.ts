import type { MetricSpec } from '@heddle/ports';

export const QK_METRICS: readonly MetricSpec[] = [
  {
    name: 'qk_analyzer_fits_total',
    kind: 'counter',
    unit: 'fits',
    help: 'Contrastive covariances fitted, one for each feature and head',
  },
  {
    name: 'qk_analyzer_fit_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time of one fit job, with its captures',
    buckets: [0.3, 1, 3, 10, 30, 100, 300],
  },
];
