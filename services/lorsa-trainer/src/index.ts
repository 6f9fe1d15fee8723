import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JobKind, JobRuntime } from '@heddle/actor';
import type { Blobs, Clients, Engine, Hub, Metrics, Service } from '@heddle/ports';
import { remoteActivations } from './activations.ts';
import { readCorpus } from './corpus.ts';
import { lorsaHandlers } from './handlers.ts';
import { type LoadedModel, type ModelStore, readHostLayer, readHostSizes } from './host-layer.ts';
import { LORSA_METRICS } from './metrics.ts';
import { trainKind } from './train-job.ts';

export type { LoadedModel, ModelStore } from './host-layer.ts';
export { LORSA_METRICS } from './metrics.ts';

export interface LorsaDeps<M extends LoadedModel> {
  readonly engine: Engine;
  readonly hub: Hub;
  readonly blobs: Blobs;
  readonly metrics: Metrics;
  readonly jobs: Pick<JobRuntime, 'submit' | 'result'>;
  readonly peers: Pick<Clients, 'activation'>;
  readonly versions: Readonly<Record<string, string>>;
  /** `loadModel` and `openWeights` of the hub's adapter. */
  readonly store: ModelStore<M>;
}

/** Trains Lorsa layers and runs them. */
export async function createService<M extends LoadedModel>(
  deps: LorsaDeps<M>,
): Promise<Service<JobKind>> {
  const { engine, hub, blobs, metrics, jobs, peers, versions } = deps;
  const store = deps.store as unknown as ModelStore;
  return {
    name: 'lorsa-trainer',
    handlers: {
      lorsa: lorsaHandlers({
        blobs,
        hub,
        metrics,
        breathe: () => nextTurn(),
        sizes: (model, signal) => readHostSizes(peers, model, signal),
        submit: (request, key) => jobs.submit('lorsa.train', request, key === '' ? {} : { key }),
        jobResult: async (id) => blobs.read((await jobs.result(id)).digest),
      }),
    },
    jobKinds: [
      trainKind({
        engine,
        metrics,
        versions,
        activations: remoteActivations(peers),
        sizes: (model) => readHostSizes(peers, model),
        host: (model, layer) => readHostLayer({ hub, store, peers }, model, layer),
        corpus: (data) => readCorpus(hub, data),
      }),
    ],
    metrics: LORSA_METRICS,
    close: async () => {},
  };
}
