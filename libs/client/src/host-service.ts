import type { Clients, Hub, Metrics } from '@heddle/ports';
import { HostAccess } from './host-access.ts';
import type { WeightStore } from './host-model.ts';

/** What a service that asks about a host's heads is made from. */
export interface HostServiceDeps {
  readonly hub: Hub;
  readonly metrics: Metrics;
  readonly peers: Pick<Clients, 'activation'>;
  readonly versions: Readonly<Record<string, string>>;
  readonly store: WeightStore;
}

/** What the jobs of such a service need. */
export interface HostJobDeps {
  readonly hosts: HostAccess;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
}

export function hostJobDeps(deps: HostServiceDeps): HostJobDeps {
  const { hub, metrics, peers, versions, store } = deps;
  return {
    hosts: new HostAccess({ activation: peers.activation, hub, store }),
    metrics,
    versions,
  };
}
