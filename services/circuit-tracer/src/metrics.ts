import type { MetricSpec } from '@heddle/ports';

const METHODS = ['accpp', 'sad'];

export const CIRCUIT_METRICS: readonly MetricSpec[] = [
  {
    name: 'circuit_tracer_trace_seconds',
    kind: 'histogram',
    unit: 'seconds',
    help: 'Time of the trace of one prompt, without capture and weights',
    labels: { method: METHODS },
    buckets: [0.1, 0.3, 1, 3, 10, 30, 100, 300],
  },
  {
    name: 'circuit_tracer_nodes_total',
    kind: 'counter',
    unit: 'nodes',
    help: 'Nodes of all graphs',
    labels: { method: METHODS },
  },
  {
    name: 'circuit_tracer_unexplained_firings_total',
    kind: 'counter',
    unit: 'firings',
    help: 'Firings that were not explained within the cap on removals',
    labels: { method: METHODS },
  },
];
