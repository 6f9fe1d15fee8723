import type { JobKind, JobRuntime } from '@heddle/actor';
import { type HostServiceDeps, hostJobDeps } from '@heddle/client';
import type { Service } from '@heddle/ports';
import { attributionHandlers } from './handlers.ts';
import { ATTRIBUTION_METRICS } from './metrics.ts';
import { whyKind } from './why-kind.ts';

export { ATTRIBUTION_METRICS } from './metrics.ts';

export interface AttributionDeps extends HostServiceDeps {
  readonly jobs: Pick<JobRuntime, 'submit'>;
}

/** Says why: attention scores and logits as sums of sources. */
export async function createService(deps: AttributionDeps): Promise<Service<JobKind>> {
  return {
    name: 'attribution-service',
    handlers: { attribution: attributionHandlers(deps.jobs) },
    jobKinds: [whyKind(hostJobDeps(deps))],
    metrics: ATTRIBUTION_METRICS,
    close: async () => {},
  };
}
