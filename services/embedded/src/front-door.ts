import { Upstreams } from '@heddle/adapters/grpc';
import { failedPrecondition } from '@heddle/core';
import type { Opened, Stood } from './bring-up.ts';
import { openPeers } from './peers.ts';
import { standUp } from './standing.ts';

/**
 * The way into a cluster: every contract, answered by handing calls on, and the page. It keeps nothing, so any number of
 * them may stand side by side. Errors: `failed_precondition` when it is not told where the services are.
 */
export async function openFrontDoor(opened: Opened): Promise<Stood> {
  const { config, server, closers, metrics, log, security } = opened;
  if (config.peers.size === 0) {
    throw failedPrecondition(
      'a front door must be told where the services are: HEDDLE_PEERS=activation=HOST:PORT,lorsa=HOST:PORT,…',
      { field: 'HEDDLE_PEERS' },
    );
  }
  const upstreams = new Upstreams(config.peers, security.channel);
  closers.add(async () => upstreams.close());
  server.forward(upstreams);
  const answered = upstreams.contracts;
  const own = `${server.host}:${server.port}`;
  const ownChannel = { ...security.channel, key: server.key };
  const peers = openPeers({ own, elsewhere: config.peers, answered, ownChannel });
  closers.add(async () => peers.close());
  const pages = await standUp(opened, { peers: peers.clients, metrics, log }, answered);
  closers.add(pages.close);
  return { pages, stop: async () => undefined };
}
