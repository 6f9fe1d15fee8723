import type { Ports } from './programs.ts';

/**
 * How the API server finds KEDA's metrics: a service by a name of outside, because the usual kind would need an address that
 * is not loopback, and a right to make one.
 */
export function kedaObjects({ kedaAdapter }: Pick<Ports, 'kedaAdapter'>): readonly object[] {
  const service = { name: 'keda-metrics-apiserver', namespace: 'keda' };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'keda' } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: service,
      spec: { type: 'ExternalName', externalName: 'localhost' },
    },
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: 'v1beta1.external.metrics.k8s.io' },
      spec: {
        service: { ...service, port: kedaAdapter },
        group: 'external.metrics.k8s.io',
        version: 'v1beta1',
        groupPriorityMinimum: 100,
        versionPriority: 100,
        insecureSkipTLSVerify: true,
      },
    },
  ];
}
