import { type ChannelSecurity, openChannel } from '@heddle/adapters/grpc';
import type { CallOptions, Clients, Init, LabelledTensor, Tracing } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import type { Job } from '@heddle/ports/proto/common';
import type { ApplyStart } from '@heddle/ports/proto/lorsa';
import {
  artifactBytes,
  artifactChunks,
  type Outcome,
  outcomeOf,
  type WatchOptions,
  waitForJob,
  watchJob,
} from './jobs.ts';
import {
  type AppliedLorsa,
  applyLorsa,
  type CollectedRun,
  collectRun,
  type RunItem,
  runItems,
  type StreamOptions,
} from './tensors.ts';

/**
 * A cluster, as a program drives it: every contract by name (`heddle.qk.StartFit({...})`), and the few things that
 * take more than one call. Every failure is an OperationError.
 */
export interface Heddle extends Clients {
  readonly address: string;
  /** Errors: `unavailable` when nothing answers within the time. */
  ready(timeoutMs?: number): Promise<void>;
  runItems(request: Init<RunRequest>, options?: StreamOptions): AsyncGenerator<RunItem>;
  collectRun(request: Init<RunRequest>, options?: StreamOptions): Promise<CollectedRun>;
  applyLorsa(
    start: Init<ApplyStart>,
    inputs: readonly LabelledTensor[],
    options?: StreamOptions,
  ): Promise<AppliedLorsa>;
  watchJob(id: string, options?: WatchOptions): AsyncGenerator<Job>;
  waitForJob(
    id: string,
    options?: WatchOptions & { readonly onChange?: (job: Job) => void },
  ): Promise<Job>;
  outcome(id: string, options?: CallOptions): Promise<Outcome>;
  artifactChunks(id: string, name: string, options?: CallOptions): AsyncGenerator<Uint8Array>;
  artifactBytes(id: string, name: string, options?: CallOptions): Promise<Uint8Array>;
  close(): void;
}

/** How a client says who it is, and knows whom it talks to: a token, and TLS. */
export interface Access extends ChannelSecurity {
  /** Of `openTracing`: every call is a part of the current span, in all services that it reaches. */
  readonly tracing?: Tracing | undefined;
}

/**
 * `connect('127.0.0.1:7411')`, `connect('https://heddle.example.org:7411', { token, tls: { ca } })`; connects when first
 * used. Errors: `failed_precondition` for a token that others could read on the way.
 */
export function connect(address: string, access: Access = {}): Heddle {
  const { clients, ready, close } = openChannel(address, access);
  const { activation, jobs, lorsa } = clients;
  return {
    ...clients,
    address,
    ready: (timeoutMs = 10_000) => ready(timeoutMs),
    runItems: (request, options) => runItems(activation, request, options),
    collectRun: (request, options) => collectRun(activation, request, options),
    applyLorsa: (start, inputs, options) => applyLorsa(lorsa, start, inputs, options),
    watchJob: (id, options) => watchJob(jobs, id, options),
    waitForJob: (id, options) => waitForJob(jobs, id, options),
    outcome: (id, options) => outcomeOf(jobs, id, options),
    artifactChunks: (id, name, options) => artifactChunks(jobs, id, name, options),
    artifactBytes: (id, name, options) => artifactBytes(jobs, id, name, options),
    close,
  };
}
