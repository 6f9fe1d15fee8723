import type { JobKind, JobRuntime } from '@heddle/actor';
import { HostAccess, type WeightStore } from '@heddle/client';
import type { Model } from '@heddle/models';
import type { Clients, Hub, Metrics, Service } from '@heddle/ports';
import { fitKind } from './fit-kind.ts';
import { qkHandlers } from './handlers.ts';
import { QK_METRICS } from './metrics.ts';

export { QK_METRICS } from './metrics.ts';

export interface QkDeps<M extends Model> {
  readonly hub: Hub;
  readonly metrics: Metrics;
  readonly jobs: Pick<JobRuntime, 'submit'>;
  readonly peers: Pick<Clients, 'activation'>;
  readonly versions: Readonly<Record<string, string>>;
  /** `loadModel` and `openWeights` of the hub's adapter. */
  readonly store: WeightStore<M>;
}

/** Splits the query-key space of heads into named subspaces. */
export async function createService<M extends Model>(deps: QkDeps<M>): Promise<Service<JobKind>> {
  const { hub, metrics, jobs, peers, versions } = deps;
  const store = deps.store as unknown as WeightStore;
  const hosts = new HostAccess({ activation: peers.activation, hub, store });
  return {
    name: 'qk-analyzer',
    handlers: {
      qk: qkHandlers({
        submit: (request, key) => jobs.submit('qk.fit', request, key === '' ? {} : { key }),
      }),
    },
    jobKinds: [fitKind({ hosts, metrics, versions })],
    metrics: QK_METRICS,
    close: async () => {},
  };
}
