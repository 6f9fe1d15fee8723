import type { Code, Details } from '@heddle/core';
import type { EngineUsage, Provider } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';

/** What crosses between the engine's proxy and its worker thread. Buffers are shared or transferred, never cloned twice. */

export interface WorkerSetup {
  readonly providers: readonly Provider[];
  readonly threads: number;
  readonly cacheBytes: number;
  /** A model of one node, opened on each provider to learn whether it serves. */
  readonly probe: Uint8Array;
}

export interface WireProgram {
  readonly digest: string;
  /** Shared memory, so that a plan that repeats does not copy its graphs. */
  readonly bytes: SharedArrayBuffer;
  readonly weightsDirectory: string | undefined;
  readonly residentBytes: number;
}

export type WireFeed = Tensor | { readonly step: number; readonly output: string };

export interface WireStep {
  readonly program: WireProgram;
  readonly feeds: Readonly<Record<string, WireFeed>>;
  readonly keep: readonly string[];
  readonly into: Readonly<Record<string, Tensor>>;
  readonly waits: boolean;
}

export interface RunMessage {
  readonly type: 'run';
  readonly steps: readonly WireStep[];
  /** Kept outputs leave after each step, and the worker waits when too many are unacknowledged. */
  readonly stream: boolean;
  /** One Int32: not 0 means stop before the next step. Shared, because a running worker reads no messages. */
  readonly cancelled: SharedArrayBuffer;
}

export type ToWorker = RunMessage | { readonly type: 'acknowledge' } | { readonly type: 'close' };

export interface Refusal {
  readonly provider: Provider;
  readonly reason: string;
}

export interface WireError {
  readonly code: Code;
  readonly message: string;
  readonly details: Details;
}

export type WireOutputs = Readonly<Record<string, Tensor>>;

export type FromWorker =
  | {
      readonly type: 'ready';
      readonly provider: Provider;
      readonly refused: readonly Refusal[];
      readonly version: string;
    }
  | { readonly type: 'unserved'; readonly refused: readonly Refusal[] }
  | {
      readonly type: 'step';
      readonly step: number;
      readonly outputs: WireOutputs;
      /** The worker counts this step until it is acknowledged. */
      readonly counted: boolean;
    }
  | { readonly type: 'done'; readonly outputs: readonly WireOutputs[]; readonly usage: EngineUsage }
  | { readonly type: 'failed'; readonly error: WireError; readonly usage: EngineUsage };
