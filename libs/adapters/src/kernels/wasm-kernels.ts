import { readFileSync } from 'node:fs';
import { assert, OperationError } from '@heddle/core';
import { checkLorsaConfig } from '@heddle/interp/lorsa';
import type { Kernels, KernelsEstimate, SparseKernels, SparseSizes } from '@heddle/ports';
import { layoutOf } from './layout.ts';
import { MEMORY_BYTES_MAX, THREADS_MAX } from './limits.ts';
import { WasmSparseKernels } from './wasm-sparse-kernels.ts';

const PAGE_BYTES = 65536;

export interface WasmKernelsOptions {
  /** Threads that share each call's work; 1 unless told. Results do not depend on it. */
  readonly threads?: number;
  /** Hears how long each kernel took: for measurements. */
  readonly onPhase?: (kernel: string, ms: number) => void;
}

/** The `Kernels` port in WebAssembly SIMD: one shared memory per training, allocated whole. */
export class WasmKernels implements Kernels {
  private readonly threads: number;
  private readonly options: WasmKernelsOptions;
  private module: WebAssembly.Module | undefined;

  constructor(options: WasmKernelsOptions = {}) {
    this.options = options;
    this.threads = options.threads ?? 1;
    assert(Number.isInteger(this.threads), 'threads are counted');
    assert(this.threads >= 1 && this.threads <= THREADS_MAX, () => `${this.threads} threads`);
  }

  estimate(sizes: SparseSizes): KernelsEstimate {
    checkSizes(sizes);
    const { bytes } = layoutOf(sizes, this.threads);
    return { bytes, limitBytes: MEMORY_BYTES_MAX, fits: bytes <= MEMORY_BYTES_MAX };
  }

  async open(sizes: SparseSizes): Promise<SparseKernels> {
    checkSizes(sizes);
    const layout = layoutOf(sizes, this.threads);
    this.module ??= new WebAssembly.Module(
      readFileSync(new URL('./gen/kernels.wasm', import.meta.url)),
    );
    const memory = allocate(layout.bytes);
    const { threads, module } = this;
    const { onPhase } = this.options;
    return WasmSparseKernels.open({ sizes, layout, module, memory, threads, onPhase });
  }
}

/** Growing would detach every view that the engine and the trainer hold; so it is made whole. */
function allocate(bytes: number): WebAssembly.Memory {
  if (bytes > MEMORY_BYTES_MAX) {
    throw tooLarge(bytes, `more than the ${gib(MEMORY_BYTES_MAX)} that WebAssembly can address`);
  }
  const pages = Math.ceil(bytes / PAGE_BYTES);
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  } catch (cause) {
    throw tooLarge(bytes, 'more than this machine gives', cause);
  }
}

function tooLarge(bytes: number, why: string, cause?: unknown): OperationError {
  return new OperationError({
    code: 'resource_exhausted',
    message: `the sparse backend would hold ${gib(bytes)} for this training, ${why}; choose the graph backend, or fewer heads or tokens a step`,
    retryable: false,
    details: { estimateBytes: bytes, limitBytes: MEMORY_BYTES_MAX, alternative: 'graph' },
    cause,
  });
}

const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

function checkSizes({ config, tokensMax, slotsMax, auxSlotsMax }: SparseSizes): void {
  checkLorsaConfig(config);
  assert(Number.isSafeInteger(tokensMax) && tokensMax > 0, () => `${tokensMax} tokens a step`);
  assert(Number.isSafeInteger(slotsMax) && slotsMax > 0, () => `${slotsMax} active heads a token`);
  assert(Number.isSafeInteger(auxSlotsMax) && auxSlotsMax >= 0, () => `${auxSlotsMax} AuxK heads`);
}
