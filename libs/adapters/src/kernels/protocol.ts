/** What crosses between the caller's thread and the kernels' threads. */

export const KERNEL_NAMES = [
  'gate',
  'replay',
  'decode',
  'columnSums',
  'group',
  'cotangent',
  'updateHeads',
  'keepHeads',
  'adam',
  'squares',
  'norms',
] as const;

export type KernelName = (typeof KERNEL_NAMES)[number];

export type Kernel = (from: number, to: number, args: number, scratch: number) => void;

/** Of a kernel's arguments: 24 integers, then 8 floats. */
export const INTEGERS = 24;
export const ARGUMENT_BYTES = 4 * (INTEGERS + 8);

/** One kernel over a range of items; the next phase starts when all of them are done. */
export interface Phase {
  readonly kernel: KernelName;
  readonly items: number;
  /** Items that a thread takes at a time. */
  readonly turn: number;
  readonly integers: readonly number[];
  readonly floats?: readonly number[];
}

export interface ThreadSetup {
  readonly module: WebAssembly.Module;
  readonly memory: WebAssembly.Memory;
  readonly control: SharedArrayBuffer;
  /** 0 leads: it hears the caller and wakes the others. */
  readonly thread: number;
  readonly threads: number;
  readonly arguments: number;
  readonly scratch: number;
}

/** Places in the shared control block of 32-bit integers. */
export const CONTROL = {
  /** Counts phases; a helper sleeps until it changes. */
  phase: 0,
  /** Turns taken in this phase. */
  turns: 1,
  /** Helpers that are done with this phase. */
  done: 2,
  kernel: 3,
  items: 4,
  turn: 5,
  /** Not 0: a helper fell. */
  fallen: 6,
} as const;

export const CONTROL_LENGTH = 8;
/** In place of a kernel: leave. */
export const LEAVE = -1;

export type ToLeader = readonly Phase[] | 'close';

export type FromLeader =
  | { readonly type: 'ready' }
  /** Milliseconds of each phase. */
  | { readonly type: 'done'; readonly times: readonly number[] }
  | { readonly type: 'failed'; readonly message: string };
