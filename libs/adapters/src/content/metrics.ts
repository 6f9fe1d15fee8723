import type { MetricSpec } from '@heddle/ports';

/** What the cache of models counts. */
export const CONTENT_METRICS: readonly MetricSpec[] = [
  {
    name: 'models_wanted_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Of the named models that this replica wants in its cache',
  },
  {
    name: 'models_there_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Of the wanted models that are in the cache already',
  },
  {
    name: 'models_cache_bytes',
    kind: 'gauge',
    unit: 'bytes',
    help: 'Disk that the cache of models takes; files that the blob store holds anyway do not count',
  },
  {
    name: 'models_fetched_bytes_total',
    kind: 'counter',
    unit: 'bytes',
    help: 'Read from the blob store into the cache',
  },
  {
    name: 'models_opened_total',
    kind: 'counter',
    unit: 'uses',
    help: 'Uses of a model by what the cache had: all of it, nothing or a part, or damage that was repaired',
    labels: { outcome: ['hit', 'fetched', 'repaired', 'failed'] },
  },
  {
    name: 'models_evictions_total',
    kind: 'counter',
    unit: 'models',
    help: 'Models that gave way to others',
  },
];
