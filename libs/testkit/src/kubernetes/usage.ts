import { aggregatedApi } from './aggregated-api.ts';
import type { Ports } from './programs.ts';

/** What a pod is said to use: its annotations, changed at any time. Nothing runs in it, so somebody has to say. */
export const USAGE_ANNOTATIONS = {
  cpu: 'kwok.x-k8s.io/usage-cpu',
  memory: 'kwok.x-k8s.io/usage-memory',
} as const;

/** What a pod uses of which nothing is said. */
const UNSAID = { cpu: '1m', memory: '1Mi' };

const annotated = (resource: keyof typeof UNSAID): { readonly expression: string } => {
  const name = `"${USAGE_ANNOTATIONS[resource]}"`;
  const said = `Quantity(pod.metadata.annotations[${name}])`;
  return {
    expression: `${name} in pod.metadata.annotations ? ${said} : Quantity("${UNSAID[resource]}")`,
  };
};

const ofContainer = [
  { name: 'container', value: 'container.name' },
  { name: 'namespace', value: 'pod.metadata.namespace' },
  { name: 'pod', value: 'pod.metadata.name' },
];

/** A counter of CPU seconds begins above zero: the metrics server takes zero for "not known", which would cost a round. */
const BEGUN = '+ 1.0';

/** Where kwok answers for a node, as a kubelet does at `/metrics/resource`. */
export const usagePath = (node: string): string => `/metrics/nodes/${node}/metrics/resource`;

/** kwok's configuration: a kubelet's usage, of what pods are said to use. JSON is YAML. */
export function usageConfiguration(): string {
  const kwok = (kind: string, name: string, spec: object) => ({
    ...{ apiVersion: 'kwok.x-k8s.io/v1alpha1', kind, metadata: { name }, spec },
  });
  const metric = (
    dimension: 'node' | 'container',
    kind: 'gauge' | 'counter',
    name: string,
    value: string,
  ) => {
    const labels = dimension === 'container' ? { labels: ofContainer } : {};
    return { name: `${dimension}_${name}`, help: name, dimension, kind, value, ...labels };
  };
  const usages = [{ usage: { cpu: annotated('cpu'), memory: annotated('memory') } }];
  const metrics = [
    metric(
      'container',
      'gauge',
      'start_time_seconds',
      'UnixSecond(pod.metadata.creationTimestamp)',
    ),
    metric(
      ...(['container', 'counter', 'cpu_usage_seconds_total'] as const),
      `pod.CumulativeUsage("cpu", container.name) ${BEGUN}`,
    ),
    metric(
      ...(['container', 'gauge', 'memory_working_set_bytes'] as const),
      'pod.Usage("memory", container.name)',
    ),
    metric('node', 'counter', 'cpu_usage_seconds_total', `node.CumulativeUsage("cpu") ${BEGUN}`),
    metric('node', 'gauge', 'memory_working_set_bytes', 'node.Usage("memory")'),
  ];
  return [
    kwok('ClusterResourceUsage', 'as-annotated', { usages }),
    kwok('Metric', 'kubelet', { path: usagePath('{nodeName}'), metrics }),
  ]
    .map((object) => JSON.stringify(object))
    .join('\n---\n');
}

/** How the API server finds what pods use. */
export function usageObjects({ metricsServer }: Pick<Ports, 'metricsServer'>): readonly object[] {
  return aggregatedApi({
    group: 'metrics.k8s.io',
    version: 'v1beta1',
    name: 'metrics-server',
    namespace: 'kube-system',
    port: metricsServer,
  });
}
