import type { JobKind, JobRuntime } from '@heddle/actor';
import type { HostServiceDeps } from '@heddle/client';
import type { Blobs, Clients, Clock, ContractName, Engine, Handlers, Kernels } from '@heddle/ports';
import type { LorsaService } from '@heddle/ports/proto/lorsa';
import type { ActivationSource } from './activation-source.ts';

/** What the composition root gives the service. */
export interface ServiceDeps extends HostServiceDeps {
  readonly clock: Clock;
  readonly engine: Engine;
  readonly kernels: () => Promise<Kernels>;
  readonly peers: Pick<Clients, 'activation'>;
  /** Jobs of the process that answers a contract. */
  readonly jobsOf: (contract: ContractName) => Clients['jobs'];
  readonly blobs: Blobs;
  readonly jobs: Pick<
    JobRuntime,
    'submit' | 'result' | 'checkpoint' | 'get' | 'list' | 'wait' | 'cancel' | 'pause' | 'resume'
  >;
}

/** What the service gives each of its parts. */
export interface LorsaDeps extends ServiceDeps {
  readonly activations: ActivationSource;
}

/** One subject of the service: the methods that it answers and the jobs that it runs. */
export interface LorsaPart {
  readonly handlers: Handlers<LorsaService>;
  readonly jobKinds: readonly JobKind[];
}
