import type { AlertGroup } from './alert.ts';

/** Needs kube-state-metrics, as kube-prometheus-stack has it. The chart's containers are all called heddle. */
export const KUBERNETES: AlertGroup = {
  name: 'heddle-kubernetes',
  alerts: [
    {
      name: 'HeddleWorkersAtMaximum',
      severity: 'warning',
      // KEDA's autoscaler is keda-hpa-RELEASE-SERVICE-workers; its service has tasks waiting.
      expr: `(kube_horizontalpodautoscaler_status_desired_replicas{horizontalpodautoscaler=~"keda-hpa-.+-workers"}
>= kube_horizontalpodautoscaler_spec_max_replicas)
and on (namespace) (max by (namespace) (namespace_kind:jobs_queue_waiting:max) > 0)`,
      for: '30m',
      summary:
        '{{ $labels.horizontalpodautoscaler }} in {{ $labels.namespace }} is at its maximum of {{ $value }}',
      description:
        'There have been as many workers as there may be ({{ $value }}) for 30 minutes, and tasks wait.',
    },
    {
      name: 'HeddlePodPending',
      severity: 'warning',
      // What a pod asks for is known before it has a node; of its containers nothing is.
      expr: `max by (namespace, pod) (kube_pod_status_phase{phase="Pending"}) == 1
and on (namespace, pod) max by (namespace, pod) (kube_pod_container_resource_requests{container="heddle"})`,
      for: '15m',
      summary: '{{ $labels.pod }} in {{ $labels.namespace }} finds no place',
      description:
        '{{ $labels.pod }} has been Pending for 15 minutes: no node has the GPU, memory or volume that it asks for, or its image cannot be pulled.',
    },
    {
      name: 'HeddleOutOfMemory',
      severity: 'warning',
      expr: `max by (namespace, pod) (kube_pod_container_status_last_terminated_reason{container="heddle", reason="OOMKilled"}) == 1
and on (namespace, pod) max by (namespace, pod) (increase(kube_pod_container_status_restarts_total{container="heddle"}[30m])) > 0`,
      for: '0m',
      summary: '{{ $labels.pod }} in {{ $labels.namespace }} was killed for its memory',
      description:
        'The container of {{ $labels.pod }} passed its memory limit within the last 30 minutes. What it worked on goes on elsewhere from its last checkpoint, and may kill the next worker too.',
    },
    {
      name: 'HeddleMemoryNearLimit',
      severity: 'warning',
      expr: `max by (namespace, pod) (label_replace(process_resident_memory_bytes{job="heddle"}, "pod", "$1", "instance", "(.+)"))
/ on (namespace, pod) max by (namespace, pod) (kube_pod_container_resource_limits{container="heddle", resource="memory"}) > 0.9`,
      for: '10m',
      summary:
        '{{ $labels.pod }} in {{ $labels.namespace }} is at {{ $value | humanizePercentage }} of its memory limit',
      description:
        '{{ $labels.pod }} has used {{ $value | humanizePercentage }} of its memory limit for 10 minutes; past it, it is killed.',
    },
    {
      name: 'HeddleRolloutStuck',
      severity: 'warning',
      expr: `max by (namespace, deployment) (kube_deployment_status_condition{condition="Progressing", status="false"}) == 1
and on (namespace) group by (namespace) (heddle_build_info)`,
      for: '1m',
      summary: 'The rollout of {{ $labels.deployment }} in {{ $labels.namespace }} does not get on',
      description:
        '{{ $labels.deployment }} has passed its progress deadline: new pods do not get ready. The old ones go on.',
    },
  ],
};
