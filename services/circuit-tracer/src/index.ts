import type { JobKind, JobRuntime } from '@heddle/actor';
import { HostAccess, type WeightStore } from '@heddle/client';
import type { Model } from '@heddle/models';
import type { Clients, Hub, Metrics, Service } from '@heddle/ports';
import { circuitHandlers } from './handlers.ts';
import { CIRCUIT_METRICS } from './metrics.ts';
import { traceKind } from './trace-kind.ts';

export { CIRCUIT_METRICS } from './metrics.ts';

export interface CircuitDeps<M extends Model> {
  readonly hub: Hub;
  readonly metrics: Metrics;
  readonly jobs: Pick<JobRuntime, 'submit'>;
  readonly peers: Pick<Clients, 'activation'>;
  readonly versions: Readonly<Record<string, string>>;
  /** `loadModel` and `openWeights` of the hub's adapter. */
  readonly store: WeightStore<M>;
}

/** Traces how heads signal to each other on a prompt. */
export async function createService<M extends Model>(
  deps: CircuitDeps<M>,
): Promise<Service<JobKind>> {
  const { hub, metrics, jobs, peers, versions } = deps;
  const store = deps.store as unknown as WeightStore;
  const hosts = new HostAccess({ activation: peers.activation, hub, store });
  return {
    name: 'circuit-tracer',
    handlers: {
      circuit: circuitHandlers({
        submit: (request, key) => jobs.submit('circuit.trace', request, key === '' ? {} : { key }),
      }),
    },
    jobKinds: [traceKind({ hosts, metrics, versions })],
    metrics: CIRCUIT_METRICS,
    close: async () => {},
  };
}
