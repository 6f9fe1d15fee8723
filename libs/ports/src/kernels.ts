import type { SparseKernels, SparseSizes } from '@heddle/interp/lorsa';

export type {
  RowGradients,
  SparseBatch,
  SparseChoice,
  SparseGate,
  SparseKernels,
  SparsePairs,
  SparseSizes,
  SparseSums,
  SparseUpdate,
} from '@heddle/interp/lorsa';

/** What a training by the `sparse` backend would hold, and what there is. */
export interface KernelsEstimate {
  readonly bytes: number;
  readonly limitBytes: number;
  readonly fits: boolean;
}

/**
 * Kernels for active (token, head) pairs, behind `SparseKernels`. Off the caller's thread.
 */
export interface Kernels {
  /** Bytes of the memory that `open` would make. */
  estimate(sizes: SparseSizes): KernelsEstimate;
  /** Errors: `resource_exhausted` with the estimate when it does not fit; the `graph` backend has no such limit. */
  open(sizes: SparseSizes): Promise<SparseKernels>;
}
