/** Who else is scraped; each has an exposition in `expositions/`, which says where it is from. */
export type Source = 'kube-state-metrics' | 'keda-operator' | 'dcgm-exporter';

/** A metric that rules and panels use and Heddle does not make. A test compares this list with both. */
export interface OutsideMetric {
  readonly name: string;
  readonly source: Source;
  /** Those that our expressions rest on. */
  readonly labels: readonly string[];
}

const kube = (name: string, ...labels: readonly string[]): OutsideMetric => ({
  ...{ name: `kube_${name}`, source: 'kube-state-metrics' },
  labels: ['namespace', ...labels],
});

const keda = (name: string, ...labels: readonly string[]): OutsideMetric => ({
  ...{ name: `keda_${name}`, source: 'keda-operator' },
  labels: ['namespace', ...labels],
});

const card = (field: string): OutsideMetric => ({
  ...{ name: `DCGM_FI_${field}`, source: 'dcgm-exporter' },
  labels: ['Hostname', 'gpu'],
});

export const OUTSIDE_METRICS: readonly OutsideMetric[] = [
  kube('horizontalpodautoscaler_status_desired_replicas', 'horizontalpodautoscaler'),
  kube('horizontalpodautoscaler_spec_max_replicas', 'horizontalpodautoscaler'),
  kube('pod_status_phase', 'pod', 'phase'),
  kube('pod_container_status_last_terminated_reason', 'pod', 'container', 'reason'),
  kube('pod_container_status_restarts_total', 'pod', 'container'),
  kube('pod_container_resource_requests', 'pod', 'container', 'resource'),
  kube('pod_container_resource_limits', 'pod', 'container', 'resource'),
  kube('deployment_status_condition', 'deployment', 'condition', 'status'),
  keda('scaled_object_errors_total', 'scaledObject'),
  keda('scaler_http_requests_total', 'scaled_resource', 'status_code'),
  card('DEV_GPU_UTIL'),
  card('DEV_FB_USED'),
  card('DEV_FB_FREE'),
  card('DEV_GPU_TEMP'),
  card('DEV_POWER_USAGE'),
  card('DEV_XID_ERRORS'),
  card('PROF_PIPE_TENSOR_ACTIVE'),
  card('PROF_DRAM_ACTIVE'),
];
