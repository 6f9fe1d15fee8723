import type { JobRuntime } from '@heddle/actor';
import type { Handlers, Kernels } from '@heddle/ports';
import type { LorsaService } from '@heddle/ports/proto/lorsa';
import { requireBackend } from './backends.ts';
import { type HostSizes, readHostLayer, readHostSizes, requireLayer } from './host-layer.ts';
import { settingsFor } from './lorsa-settings.ts';
import type { LorsaDeps, LorsaPart } from './part.ts';
import { trainKind } from './train-job.ts';
import { asJson, checkedTrain } from './train-request.ts';

/** The part that trains: StartTrain and `lorsa.train`. */
export function trainPart(deps: LorsaDeps): LorsaPart {
  const { activations, engine, kernels, hub, metrics, jobs, peers, versions, store } = deps;
  return {
    handlers: trainHandlers({
      jobs,
      kernels,
      sizes: (model, signal) => readHostSizes(peers, model, signal),
    }),
    jobKinds: [
      trainKind({
        engine,
        kernels,
        metrics,
        versions,
        activations,
        sizes: (model) => readHostSizes(peers, model),
        host: (model, layer) => readHostLayer({ hub, store, peers }, model, layer),
      }),
    ],
  };
}

export interface TrainHandlerDeps {
  /** The sizes of the host that a training names; errors as the activation server's. */
  readonly sizes: (model: string, signal: AbortSignal) => Promise<HostSizes>;
  readonly jobs: Pick<JobRuntime, 'submit'>;
  readonly kernels: () => Promise<Pick<Kernels, 'estimate'>>;
}

/** StartTrain: what can be refused is refused before a job exists. */
export function trainHandlers(deps: TrainHandlerDeps): Pick<Handlers<LorsaService>, 'StartTrain'> {
  return {
    async StartTrain(request, call) {
      const train = checkedTrain(request);
      const host = await deps.sizes(train.model, call.signal);
      requireLayer(host, train.layer);
      // Refuses now what the job would refuse later.
      await requireBackend(deps.kernels, train.backend, settingsFor(train, host));
      const key = request.client_key;
      const { id } = await deps.jobs.submit('lorsa.train', asJson(train), { key });
      return { job: { id } };
    },
  };
}
