import type { Tensor } from '@heddle/tensor';

/** Where a program may run, in the order in which providers are tried. */
export type Provider = 'cuda' | 'webgpu' | 'cpu';

/**
 * One ONNX model, ready to open: the bytes (36–48 kB for a block; weights are references into files of
 * `weightsDirectory`), what identifies it, and what it will cost.
 */
export interface Program {
  /** SHA-256 of the bytes and of the weights' digest: equal digests compute the same. The session cache's key. */
  readonly digest: string;
  readonly bytes: Uint8Array;
  /** Real folder of the files named by external initializers; undefined when the program has no weights. */
  readonly weightsDirectory: string | undefined;
  /** Bytes of weights that a session holds: what the cache budgets. */
  readonly residentBytes: number;
}

/** A feed: a value, or the output of an earlier step, which then never leaves the engine. */
export type Feed = Tensor | { readonly step: number; readonly output: string };

export interface Step {
  readonly program: Program;
  readonly feeds: Readonly<Record<string, Feed>>;
  /** Outputs handed to the caller, by name. What later steps read need not be listed. */
  readonly keep: readonly string[];
  /** Outputs written into the caller's own shared memory, by name; they are not handed over besides. */
  readonly into?: Readonly<Record<string, Tensor>>;
  /** Starts only when `onStep` of every earlier step has resolved: what it wrote into shared memory is a feed here. */
  readonly waits?: boolean;
}

/** A chain of programs run one after the other; cancellation is heard between steps. */
export interface Plan {
  readonly steps: readonly Step[];
}

export type Outputs = Readonly<Record<string, Tensor>>;

export interface RunOptions {
  readonly signal?: AbortSignal;
  /** Called after each step with what it keeps; given this, `run` resolves to empty outputs and holds nothing back. */
  readonly onStep?: (step: number, outputs: Outputs) => void | Promise<void>;
}

export interface EngineReport {
  /** The provider that was chosen, and what was tried before it with the reason it did not serve. */
  readonly provider: Provider;
  readonly refused: readonly { readonly provider: Provider; readonly reason: string }[];
  readonly threads: number;
  /** `onnxruntime-node 1.30.0` and the CPU's instruction set: half of a result's provenance. */
  readonly version: string;
}

export interface EngineUsage {
  readonly sessionsOpen: number;
  readonly residentBytes: number;
  readonly hits: number;
  readonly misses: number;
  readonly evictions: number;
}

/**
 * Compute. Runs plans in the order asked, one at a time per engine, off the caller's thread. Errors: `cancelled`,
 * `internal` with the program's digest and ONNX Runtime's words, `resource_exhausted` when one program alone is past the budget.
 */
export interface Engine {
  report(): Promise<EngineReport>;
  run(plan: Plan, options?: RunOptions): Promise<readonly Outputs[]>;
  usage(): Promise<EngineUsage>;
  close(): Promise<void>;
}
