import { OperationError } from '@heddle/core';
import { createService as createExplorer } from '@heddle/explorer';
import type { ContractName } from '@heddle/ports';
import type { Opened } from './bring-up.ts';
import { type RunningHttp, serveHttp } from './http-pages.ts';
import type { ServiceDeps } from './service-deps.ts';

/** What a cluster that stays has beside gRPC: the explorer's page, and /metrics. */
export async function standUp(
  { config: { host, httpPort }, security, server }: Pick<Opened, 'config' | 'security' | 'server'>,
  { peers, metrics, log }: Pick<ServiceDeps, 'peers' | 'metrics' | 'log'>,
  contracts: readonly ContractName[],
): Promise<RunningHttp> {
  const { pages } = createExplorer({ clients: peers, contracts });
  const isReady = () => server.isServing;
  const options = { host, metrics, pages, log, security, isReady };
  try {
    return await serveHttp({ ...options, port: httpPort });
  } catch (thrown) {
    if (OperationError.from(thrown).code !== 'unavailable') throw thrown;
    return serveHttp({ ...options, port: 0 });
  }
}
