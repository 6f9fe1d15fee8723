/** An API that another program answers, of which the API server passes calls on. */
export interface AggregatedApi {
  readonly group: string;
  readonly version: string;
  /** The Service that it is asked for by, as its own chart calls it. */
  readonly name: string;
  readonly namespace: string;
  /** On loopback. */
  readonly port: number;
}

/**
 * How the API server finds it: a Service by a name of outside, because the usual kind would need an address that is not
 * loopback, and a right to make one.
 */
export function aggregatedApi({
  group,
  version,
  name,
  namespace,
  port,
}: AggregatedApi): readonly object[] {
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { type: 'ExternalName', externalName: 'localhost' },
    },
    {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name: `${version}.${group}` },
      spec: {
        service: { name, namespace, port },
        ...{ group, version, groupPriorityMinimum: 100, versionPriority: 100 },
        insecureSkipTLSVerify: true,
      },
    },
  ];
}
