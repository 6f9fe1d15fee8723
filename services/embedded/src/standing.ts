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
  const ended = () => security.tls?.files.ended;
  const unready = () => unreadyFor(server.isServing, ended());
  const options = { host, metrics, pages, log, security, unready };
  try {
    return await serveHttp({ ...options, port: httpPort });
  } catch (thrown) {
    if (OperationError.from(thrown).code !== 'unavailable') throw thrown;
    return serveHttp({ ...options, port: 0 });
  }
}

/** What gRPC's health says; and that its callers cannot ask it, because its certificate has ended. */
export function unreadyFor(isServing: boolean, ended: Date | undefined): string | undefined {
  if (!isServing) return 'not ready';
  if (ended === undefined) return undefined;
  return `not ready: its certificate ended at ${ended.toISOString()}, and nobody can connect until it is renewed`;
}
