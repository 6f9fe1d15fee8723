import { type Client, connectivityState } from '@grpc/grpc-js';
import { present } from '@heddle/core';
import type { ContractName } from '@heddle/ports';
import { type ChannelConfig, openClient } from '../channel.ts';
import { REACH_MS } from '../limits.ts';
import { contractOfJob } from './job-contract.ts';

/** Where the calls of one contract go. */
export interface Upstream {
  readonly contract: ContractName;
  readonly addresses: readonly string[];
  readonly client: Client;
}

/** The best first: who answers now, who might, who failed last. */
const PREFERENCE = [
  connectivityState.READY,
  connectivityState.IDLE,
  connectivityState.CONNECTING,
  connectivityState.TRANSIENT_FAILURE,
  connectivityState.SHUTDOWN,
];

const stateOf = ({ client }: Upstream): connectivityState =>
  client.getChannel().getConnectivityState(true);

/** The services behind a front door. */
export class Upstreams {
  private readonly byContract: ReadonlyMap<ContractName, Upstream>;
  readonly config: ChannelConfig;

  constructor(peers: ReadonlyMap<ContractName, readonly string[]>, config: ChannelConfig) {
    this.config = config;
    this.byContract = new Map(
      [...peers].map(([contract, addresses]) => {
        const client = openClient(addresses, config);
        return [contract, { contract, addresses, client }];
      }),
    );
  }

  /** Contracts that have somebody to answer them; jobs are answered by all who have any. */
  get contracts(): readonly ContractName[] {
    return [...new Set<ContractName>([...this.byContract.keys(), 'jobs'])];
  }

  of(contract: ContractName): Upstream {
    return present(this.byContract.get(contract), contract);
  }

  /** The service that runs a job of this id; for what no service's name begins, and for no id, any that answers. */
  ofJob(id: string | undefined): Upstream {
    const contract = id === undefined ? undefined : contractOfJob(id);
    return (contract && this.byContract.get(contract)) ?? this.any();
  }

  /**
   * Waits a moment for somebody to answer there: who asks a service that is being started again shall not be told that it is
   * away. What others know too, they are asked instead. Whether there is anybody, the call itself finds out.
   */
  async reach(
    upstream: Upstream,
    { othersKnow, signal }: { readonly othersKnow: boolean; readonly signal: AbortSignal },
  ): Promise<Upstream> {
    const state = stateOf(upstream);
    if (state === connectivityState.READY) return upstream;
    if (othersKnow && state === connectivityState.TRANSIENT_FAILURE) return this.any();
    const { promise, resolve } = Promise.withResolvers<void>();
    upstream.client.waitForReady(Date.now() + REACH_MS, () => resolve());
    signal.addEventListener('abort', () => resolve(), { once: true });
    await promise;
    return othersKnow && stateOf(upstream) !== connectivityState.READY ? this.any() : upstream;
  }

  close(): void {
    for (const { client } of this.byContract.values()) client.close();
  }

  /** They share the journal, so each knows all jobs. */
  private any(): Upstream {
    const rank = (upstream: Upstream): number => PREFERENCE.indexOf(stateOf(upstream));
    const [best] = [...this.byContract.values()].sort((a, b) => rank(a) - rank(b));
    return present(best, 'a front door has peers');
  }
}
