import { usagePath } from './usage.ts';

/** A machine that is played: pods on it become Ready, nothing runs in them. */
export interface NodeSpec {
  readonly name: string;
  /** What NVIDIA's device plugin counts: `nvidia.com/gpu`, or MIG slices by their names. */
  readonly gpus?: Readonly<Record<string, number>>;
  readonly labels?: Readonly<Record<string, string>>;
}

/** What NVIDIA's device plugin and feature discovery put on a node with GPUs. */
const GPU_LABELS = {
  'nvidia.com/gpu.present': 'true',
  'nvidia.com/gpu.product': 'NVIDIA-H100-80GB-HBM3',
};
const GPU_TAINT = { key: 'nvidia.com/gpu', value: 'present', effect: 'NoSchedule' };

export function nodeObject({ name, gpus = {}, labels = {} }: NodeSpec): object {
  const hasGpus = Object.keys(gpus).length > 0;
  const hardware = {
    cpu: '64',
    memory: '512Gi',
    'ephemeral-storage': '1Ti',
    pods: '500',
    ...Object.fromEntries(Object.entries(gpus).map(([resource, count]) => [resource, `${count}`])),
  };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: {
        'kwok.x-k8s.io/node': 'fake',
        // All nodes have one kubelet, so each has a path of its own.
        'metrics.k8s.io/resource-metrics-path': usagePath(name),
      },
      labels: {
        'kubernetes.io/os': 'linux',
        'kubernetes.io/arch': 'amd64',
        'kubernetes.io/hostname': name,
        ...(hasGpus ? GPU_LABELS : {}),
        ...labels,
      },
    },
    spec: hasGpus ? { taints: [GPU_TAINT] } : {},
    status: { allocatable: hardware, capacity: hardware },
  };
}
