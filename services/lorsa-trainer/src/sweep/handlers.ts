import type { JobRuntime } from '@heddle/actor';
import type { Handlers, Kernels } from '@heddle/ports';
import type { LorsaService } from '@heddle/ports/proto/lorsa';
import { requireBackend } from '../backends.ts';
import { type HostSizes, readHostSizes, requireLayer } from '../host-layer.ts';
import { settingsFor } from '../lorsa-settings.ts';
import type { LorsaDeps, LorsaPart } from '../part.ts';
import { sweepKind } from './sweep-job.ts';
import { checkedSweep, pointsOf } from './sweep-request.ts';

/** The part that trains grids: StartSweep and `lorsa.sweep`. */
export function sweepPart({ activations, jobs, kernels, peers }: LorsaDeps): LorsaPart {
  const sizes = (model: string, signal?: AbortSignal) => readHostSizes(peers, model, signal);
  return {
    handlers: sweepHandlers({ jobs, kernels, sizes }),
    jobKinds: [sweepKind({ jobs, activations, sizes })],
  };
}

export interface SweepHandlerDeps {
  readonly sizes: (model: string, signal: AbortSignal) => Promise<HostSizes>;
  readonly jobs: Pick<JobRuntime, 'submit'>;
  readonly kernels: () => Promise<Pick<Kernels, 'estimate'>>;
}

/** StartSweep: a grid of which one point cannot be is refused whole, before anything is trained. */
export function sweepHandlers(deps: SweepHandlerDeps): Pick<Handlers<LorsaService>, 'StartSweep'> {
  return {
    async StartSweep(request, call) {
      const sweep = checkedSweep(request);
      const host = await deps.sizes(sweep.base.model, call.signal);
      for (const point of pointsOf(sweep)) {
        requireLayer(host, point.layer);
        await requireBackend(deps.kernels, point.backend, settingsFor(point, host));
      }
      const key = request.client_key;
      const { id } = await deps.jobs.submit('lorsa.sweep', sweep, { key });
      return { job: { id } };
    },
  };
}
