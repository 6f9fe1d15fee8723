import type { JobKind, JobRuntime } from '@heddle/actor';
import { type HostServiceDeps, hostJobDeps } from '@heddle/client';
import type { Service } from '@heddle/ports';
import { fitKind } from './fit-kind.ts';
import { qkHandlers } from './handlers.ts';
import { QK_METRICS } from './metrics.ts';

export { QK_METRICS } from './metrics.ts';

export interface QkDeps extends HostServiceDeps {
  readonly jobs: Pick<JobRuntime, 'submit'>;
}

/** Splits the query-key space of heads into named subspaces. */
export async function createService(deps: QkDeps): Promise<Service<JobKind>> {
  return {
    name: 'qk-analyzer',
    handlers: { qk: qkHandlers(deps.jobs) },
    jobKinds: [fitKind(hostJobDeps(deps))],
    metrics: QK_METRICS,
    close: async () => {},
  };
}
