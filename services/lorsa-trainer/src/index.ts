import { setImmediate as nextTurn } from 'node:timers/promises';
import type { JobKind, JobRuntime } from '@heddle/actor';
import type { HostServiceDeps } from '@heddle/client';
import type { Blobs, Clock, Engine, Service } from '@heddle/ports';
import { remoteActivations } from './activations.ts';
import { readCorpus } from './corpus.ts';
import { lorsaHandlers } from './handlers.ts';
import { readHostLayer, readHostSizes } from './host-layer.ts';
import { LORSA_METRICS } from './metrics.ts';
import { trainKind } from './train-job.ts';

export { LORSA_METRICS } from './metrics.ts';

export interface LorsaDeps extends HostServiceDeps {
  readonly clock: Clock;
  readonly engine: Engine;
  readonly blobs: Blobs;
  readonly jobs: Pick<JobRuntime, 'submit' | 'result'>;
}

/** Trains Lorsa layers and runs them. */
export async function createService(deps: LorsaDeps): Promise<Service<JobKind>> {
  const { clock, engine, hub, blobs, metrics, jobs, peers, versions, store } = deps;
  return {
    name: 'lorsa-trainer',
    handlers: {
      lorsa: lorsaHandlers({
        blobs,
        hub,
        metrics,
        versions,
        clock,
        breathe: () => nextTurn(),
        sizes: (model, signal) => readHostSizes(peers, model, signal),
        jobs,
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
