import { type ChannelConfig, openChannel } from '@heddle/adapters/grpc';
import type { Clients, ContractName } from '@heddle/ports';
import type { Peers } from './config.ts';

export interface OpenPeers {
  /** A client of every contract: here, or where the configuration says that it is answered. */
  readonly clients: Clients;
  readonly jobsOf: (contract: ContractName) => Clients['jobs'];
  close(): void;
}

export interface PeersOptions {
  /** Address of this process. */
  readonly own: string;
  readonly elsewhere: Peers;
  /** Contracts that this process answers: asked for here whatever is configured, so that one value serves a whole cluster. */
  readonly answered: readonly ContractName[];
  readonly ownChannel?: ChannelConfig;
  readonly channel?: ChannelConfig;
}

/** Clients of every contract: on this server, or where the configuration says that it is answered. */
export function openPeers(options: PeersOptions): OpenPeers {
  const { own, elsewhere, answered, ownChannel, channel } = options;
  const here = openChannel(own, ownChannel);
  const others = [...elsewhere]
    .filter(([name]) => !answered.includes(name))
    .map(([name, addresses]) => [name, openChannel(addresses, channel)] as const);
  const clients = others.map(([name, { clients: there }]) => [name, there[name]] as const);
  return {
    clients: { ...here.clients, ...Object.fromEntries(clients) },
    jobsOf: (contract) => {
      const other = others.find(([name]) => name === contract);
      return (other?.[1] ?? here).clients.jobs;
    },
    close: () => {
      for (const each of [here, ...others.map(([, other]) => other)]) each.close();
    },
  };
}
