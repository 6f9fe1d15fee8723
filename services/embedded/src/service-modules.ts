import type { JobKind } from '@heddle/actor';
import type { ContractName, Service } from '@heddle/ports';
import type { ServiceDeps } from './service-deps.ts';

interface ServiceModule {
  createService(deps: ServiceDeps): Promise<Service<JobKind>>;
}

/** Each service's code is loaded only when it is brought up. */
const MODULES: Readonly<Record<Exclude<ContractName, 'jobs'>, () => Promise<ServiceModule>>> = {
  activation: () => import('@heddle/activation-server'),
  attribution: () => import('@heddle/attribution-service'),
  circuit: () => import('@heddle/circuit-tracer'),
  lorsa: () => import('@heddle/lorsa-trainer'),
  qk: () => import('@heddle/qk-analyzer'),
};

/** The services that answer the contracts. */
export async function createServices(
  contracts: readonly ContractName[],
  deps: ServiceDeps,
): Promise<Service<JobKind>[]> {
  const services: Service<JobKind>[] = [];
  for (const contract of new Set(contracts)) {
    if (contract === 'jobs') continue;
    const { createService } = await MODULES[contract]();
    services.push(await createService(deps));
  }
  return services;
}
