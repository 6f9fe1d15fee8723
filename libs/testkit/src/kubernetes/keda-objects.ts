import { aggregatedApi } from './aggregated-api.ts';
import type { Ports } from './programs.ts';

/** Where KEDA lives, and how the API server finds its metrics. */
export function kedaObjects({ kedaAdapter }: Pick<Ports, 'kedaAdapter'>): readonly object[] {
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'keda' } },
    ...aggregatedApi({
      group: 'external.metrics.k8s.io',
      version: 'v1beta1',
      name: 'keda-metrics-apiserver',
      namespace: 'keda',
      port: kedaAdapter,
    }),
  ];
}
