import type { JobKind, JobRuntime } from '@heddle/actor';
import type { HostServiceDeps } from '@heddle/client';
import type { Blobs, Clients, Clock, Engine, Handlers, Kernels } from '@heddle/ports';
import type { LorsaService } from '@heddle/ports/proto/lorsa';

/** What the composition root gives the service, and the service each of its parts. */
export interface LorsaDeps extends HostServiceDeps {
  readonly clock: Clock;
  readonly engine: Engine;
  readonly kernels: () => Promise<Kernels>;
  readonly peers: Pick<Clients, 'activation' | 'jobs'>;
  readonly blobs: Blobs;
  readonly jobs: Pick<
    JobRuntime,
    'submit' | 'result' | 'get' | 'list' | 'wait' | 'cancel' | 'pause' | 'resume'
  >;
}

/** One subject of the service: the methods that it answers and the jobs that it runs. */
export interface LorsaPart {
  readonly handlers: Handlers<LorsaService>;
  readonly jobKinds: readonly JobKind[];
}
