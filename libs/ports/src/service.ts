import type { MetricSpec } from './platform.ts';
import type { ActivationService } from './proto/gen/activation.ts';
import type { AttributionService } from './proto/gen/attribution.ts';
import type { CircuitService } from './proto/gen/circuit.ts';
import type { JobsService } from './proto/gen/jobs.ts';
import type { LorsaService } from './proto/gen/lorsa.ts';
import type { QkService } from './proto/gen/qk.ts';
import type { Client, Handlers } from './rpc.ts';

/** Every contract that proto/ defines, under the name of its package. */
export interface Contracts {
  readonly activation: ActivationService;
  readonly attribution: AttributionService;
  readonly circuit: CircuitService;
  readonly jobs: JobsService;
  readonly lorsa: LorsaService;
  readonly qk: QkService;
}

export type ContractName = keyof Contracts;
export type ContractHandlers = { readonly [K in ContractName]?: Handlers<Contracts[K]> };
export type Clients = { readonly [K in ContractName]: Client<Contracts[K]> };

/**
 * What every `services/X/src/index.ts` makes of its dependencies with `createService`; `main.ts`, or the embedded
 * process, puts it on a server. `JobKind` is libs/actor's.
 */
export interface Service<JobKind> {
  /** `activation-server`. */
  readonly name: string;
  readonly handlers: ContractHandlers;
  readonly jobKinds: readonly JobKind[];
  readonly metrics: readonly MetricSpec[];
  /** Releases what the service holds; calls in flight have ended before. */
  close(): Promise<void>;
}
