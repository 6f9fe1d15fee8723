import type { Recording } from './alert.ts';

/**
 * What panels and alerts ask for again and again. Gauges of the queue and of jobs are the same number in every process of a
 * service, so the largest is taken; what a process does itself is summed.
 */
export const RECORDINGS: readonly Recording[] = [
  {
    record: 'namespace_kind:jobs_queue_waiting:max',
    expr: 'max by (namespace, kind) (jobs_queue_messages{state="waiting"})',
  },
  {
    record: 'namespace_kind:jobs_queue_working:max',
    expr: 'max by (namespace, kind) (jobs_queue_messages{state="working"})',
  },
  {
    record: 'namespace_kind:jobs_worker_slots:sum',
    expr: 'sum by (namespace, kind) (jobs_worker_slots)',
  },
  {
    record: 'namespace_kind:jobs_worker_slots_busy:sum',
    expr: 'sum by (namespace, kind) (jobs_worker_slots_busy)',
  },
  {
    record: 'namespace_kind_outcome:jobs_settled:increase30m',
    expr: 'sum by (namespace, kind, outcome) (increase(jobs_settled_total[30m]))',
  },
  {
    record: 'namespace_kind:jobs_duration_seconds:p95_1h',
    expr: 'histogram_quantile(0.95, sum by (namespace, kind, le) (rate(jobs_duration_seconds_bucket{outcome="completed"}[1h])))',
  },
  {
    record: 'namespace_service:grpc_calls:rate5m',
    expr: 'sum by (namespace, service) (rate(grpc_calls_total[5m]))',
  },
  {
    record: 'namespace_service_code:grpc_calls:rate5m',
    expr: 'sum by (namespace, service, code) (rate(grpc_calls_total[5m]))',
  },
  {
    record: 'namespace_operation:stores_operation_seconds:p99_5m',
    expr: 'histogram_quantile(0.99, sum by (namespace, operation, le) (rate(stores_operation_seconds_bucket[5m])))',
  },
  {
    record: 'namespace_operation_outcome:stores_operations:rate5m',
    expr: 'sum by (namespace, operation, outcome) (rate(stores_operations_total[5m]))',
  },
];
