import type { JobKind, JobRuntime } from '@heddle/actor';
import { type HostServiceDeps, hostJobDeps } from '@heddle/client';
import type { Service } from '@heddle/ports';
import { circuitHandlers } from './handlers.ts';
import { CIRCUIT_METRICS } from './metrics.ts';
import { traceKind } from './trace-kind.ts';

export { CIRCUIT_METRICS } from './metrics.ts';

export interface CircuitDeps extends HostServiceDeps {
  readonly jobs: Pick<JobRuntime, 'submit'>;
}

/** Traces how heads signal to each other on a prompt. */
export async function createService(deps: CircuitDeps): Promise<Service<JobKind>> {
  return {
    name: 'circuit-tracer',
    handlers: { circuit: circuitHandlers(deps.jobs) },
    jobKinds: [traceKind(hostJobDeps(deps))],
    metrics: CIRCUIT_METRICS,
    close: async () => {},
  };
}
