/** Single precision in the fast kernels; the reference also runs in double. */
export type Floats = Float32Array | Float64Array;

export type BufferKind = 'f32' | 'i32' | 'f64';

export interface BufferSize {
  readonly kind: BufferKind;
  readonly length: number;
}

/** The typed array that a kind of buffer comes as. */
export type BufferOf<K extends BufferKind> = K extends 'i32'
  ? Int32Array
  : K extends 'f64'
    ? Float64Array
    : Floats;

export type Buffers<S extends Readonly<Record<string, BufferSize>>> = {
  readonly [N in keyof S]: BufferOf<S[N]['kind']>;
};

/**
 * The winners of every token, one slot each: `token · slots + slot` is a *pair*. A pair whose activation is 0 is none.
 *
 *   winners   [token, slots]   index of the rank-one head
 *   acts      [token, slots]   z
 *   weight    [token]          of the token in the loss; pairs of a token without weight are none either
 */
export interface PairTable {
  readonly tokens: number;
  readonly slots: number;
  readonly winners: Int32Array;
  readonly acts: Floats;
  readonly weight: Floats;
}

export interface DecodeArguments extends PairTable {
  readonly d_model: number;
  readonly W_O: Floats;
  readonly b_D: Floats | undefined;
  /** `[token, d_model]`. */
  readonly target: Floats;
  /** dŷ = 2 weight (ŷ − target), `[token, d_model]`. */
  readonly d_out: Floats;
  /** dz = dŷ·w_o, `[token, slots]`, 0 where there is no pair. */
  readonly d_acts: Floats;
  /** ‖ŷ − target‖² without the weight, `[token]`. */
  readonly errors: Float64Array;
  /** target − ŷ, `[token, d_model]`. */
  readonly residual?: Floats | undefined;
}

export interface GroupArguments extends PairTable {
  /** `[ov_head + 1]`: head i has pairs[starts[i]] … pairs[starts[i+1] − 1]. */
  readonly starts: Int32Array;
  /** `[token · slots]`. */
  readonly pairs: Int32Array;
}

export interface MixedGradientArguments extends PairTable {
  readonly d_model: number;
  readonly groupSize: number;
  readonly d_acts: Floats;
  readonly W_V: Floats;
  /** U, `[qk_head, token, d_model]`. */
  readonly d_mixed: Floats;
  /** Adds to what stands in U, instead of starting from 0. */
  readonly accumulate: boolean;
}

/** Pairs grouped by head, with what their gradients are made of. */
export interface PairList {
  readonly slots: number;
  readonly starts: Int32Array;
  readonly pairs: Int32Array;
  readonly acts: Floats;
  readonly d_acts: Floats;
  readonly d_out: Floats;
}

export interface RowArguments {
  /** One list, or two with AuxK: their gradients add. */
  readonly lists: readonly PairList[];
  readonly tokens: number;
  readonly d_model: number;
  readonly groupSize: number;
  /** Y, `[qk_head, token, d_model]`. */
  readonly mixed: Floats;
  /** ‖dw_v‖² + ‖dw_o‖² + db_V² of every head, `[ov_head]`. */
  readonly squares: Float64Array;
}

/** A parameter with Adam's moments, updated in place. */
export interface AdamState {
  readonly p: Floats;
  readonly m: Floats;
  readonly v: Floats;
}

export interface AdamNumbers {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  /** 1 − β^t. */
  readonly correction1: number;
  readonly correction2: number;
  /** What the gradient is multiplied by first: clipping. */
  readonly factor: number;
}

export interface RowAdamArguments extends RowArguments {
  readonly V: AdamState;
  readonly O: AdamState;
  readonly b: AdamState;
  readonly adam: AdamNumbers;
}

/**
 * What the sparse training step asks of the active (token, head) pairs, where a dense product would multiply zeros. Every
 * function reads and writes arrays that `allocate` of the same memory gave. The port `Kernels` has this shape; the slow
 * twin is `referenceKernels`.
 */
export interface KernelFunctions {
  /** ‖row‖ of `[ov_head, d_model]` into `[ov_head]`. */
  rowNorms(args: { readonly rows: Floats; readonly d_model: number; readonly into: Floats }): void;
  /** Σ y over tokens with weight into `total` `[d_model]`; returns Σ‖y‖². */
  targetSums(args: {
    readonly target: Floats;
    readonly weight: Floats;
    readonly d_model: number;
    readonly total: Float64Array;
  }): number;
  /** ŷ = b_D + Σ z w_o, its error and what follows from it. A token without weight gets zeros everywhere. */
  decode(args: DecodeArguments): void;
  /** Pairs by head, then by token and slot (a stable counting sort); returns how many there are. */
  group(args: GroupArguments): number;
  /** U^h_t = Σ dz w_v over the token's pairs with heads of group h. */
  mixedGradient(args: MixedGradientArguments): void;
  /** Σ over rows of `[token, d_model]` into `[d_model]`. */
  columnSums(args: {
    readonly rows: Floats;
    readonly tokens: number;
    readonly d_model: number;
    readonly into: Floats;
  }): void;
  /** dw_o = Σ z dŷ_t, dw_v = Σ dz Y^{h(i)}_t, db_V = Σ dz: their squared lengths, nothing else kept. */
  rowSquares(args: RowArguments): void;
  /** The same gradients, and Adam on every row, also of heads without a pair: their moments decay. */
  rowsAdam(args: RowAdamArguments): void;
  /** Adam on a parameter whose gradient stands in an array. */
  adam(args: AdamState & { readonly gradient: Floats; readonly adam: AdamNumbers }): void;
}

export interface KernelMemory<S extends Readonly<Record<string, BufferSize>>>
  extends KernelFunctions {
  readonly buffers: Buffers<S>;
  close(): void;
}

export interface SparseKernels {
  /** One zeroed memory per training. Errors: `resource_exhausted` with the estimate past what one memory can hold. */
  allocate<const S extends Readonly<Record<string, BufferSize>>>(sizes: S): KernelMemory<S>;
}
