import type { JobKind, JobRuntime } from '@heddle/actor';
import { HostAccess, type WeightStore } from '@heddle/client';
import type { Model } from '@heddle/models';
import type { Clients, Hub, Metrics, Service } from '@heddle/ports';
import { attributionHandlers } from './handlers.ts';
import { ATTRIBUTION_METRICS } from './metrics.ts';
import { whyKind } from './why-kind.ts';

export { ATTRIBUTION_METRICS } from './metrics.ts';

export interface AttributionDeps<M extends Model> {
  readonly hub: Hub;
  readonly metrics: Metrics;
  readonly jobs: Pick<JobRuntime, 'submit'>;
  readonly peers: Pick<Clients, 'activation'>;
  readonly versions: Readonly<Record<string, string>>;
  /** `loadModel` and `openWeights` of the hub's adapter. */
  readonly store: WeightStore<M>;
}

/** Says why: attention scores and logits as sums of sources. */
export async function createService<M extends Model>(
  deps: AttributionDeps<M>,
): Promise<Service<JobKind>> {
  const { hub, metrics, jobs, peers, versions } = deps;
  const store = deps.store as unknown as WeightStore;
  const hosts = new HostAccess({ activation: peers.activation, hub, store });
  return {
    name: 'attribution-service',
    handlers: {
      attribution: attributionHandlers({
        submit: (request, key) =>
          jobs.submit('attribution.why', request, key === '' ? {} : { key }),
      }),
    },
    jobKinds: [whyKind({ hosts, metrics, versions })],
    metrics: ATTRIBUTION_METRICS,
    close: async () => {},
  };
}
