import type { Tensor } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';

/** What memory for the `sparse` backend is made for; it cannot grow later. */
export interface SparseSizes {
  readonly config: LorsaConfig;
  /** Tokens of one step at most: batch · pos. */
  readonly tokensMax: number;
  /** Active heads of one token at most: the largest K of the schedule. */
  readonly slotsMax: number;
  /** Dead heads per token that AuxK revives at most; 0 without AuxK. */
  readonly auxSlotsMax: number;
  /** A clipped norm is known only when all gradients are: then the rows' gradients need memory of their own. */
  readonly keepsGradients: boolean;
}

/**
 * The active (token, head) pairs of a step, the same number of slots for each token. A slot with z = 0 is no pair (its
 * index is not read; the gate leaves -1). A token names a head once at most.
 *
 *   indices  i32 `[token, feature]`     values  f32 `[token, feature]`: z
 */
export interface SparsePairs {
  readonly indices: Tensor<'i32'>;
  readonly values: Tensor<'f32'>;
}

/** What chooses the active heads of a batch. */
export interface SparseGate {
  readonly batch: number;
  readonly pos: number;
  /** K: how many win at a token at most, or who does (i32 `[token, feature]`), which replays another run. */
  readonly winners: number | Tensor<'i32'>;
  /** AuxK: 1 for dead heads, else 0, `[ov_head]`, and how many of them a token may revive. */
  readonly auxiliary?: { readonly dead: Float32Array; readonly topK: number } | undefined;
}

export interface SparseChoice {
  /** Rank descending, index ascending; only positive ranks are active. */
  readonly active: SparsePairs;
  readonly auxiliary?: SparsePairs;
}

export interface SparseBatch {
  readonly batch: number;
  readonly pos: number;
  /** y `[batch, pos, d_model]`, normalised. */
  readonly y: Tensor<'f32'>;
  /** 1 where a token counts, else 0: `[batch, pos]`. */
  readonly valid: Tensor<'f32'>;
  readonly active: SparsePairs;
  /**
   * AuxK: dead heads that rebuild what the active ones left, adding coefficient · mean ‖(y − ŷ) − Σ z w_o‖² over valid
   * tokens, (y − ŷ) held fixed.
   */
  readonly auxiliary?: { readonly pairs: SparsePairs; readonly coefficient: number };
}

/** The sums of `LorsaSums` and the loss, of one batch. */
export interface SparseSums {
  /** Mean squared error per valid token, without AuxK's part. */
  readonly loss: number;
  /** AuxK's part, its coefficient included; 0 without it. */
  readonly auxiliaryLoss: number;
  readonly tokens: number;
  readonly errorSum: number;
  readonly squareSum: number;
  readonly activeSum: number;
  /** Σ y over valid tokens, `[d_model]`. */
  readonly total: Float32Array;
  /** Valid tokens on which a head was active, `[ov_head]`. AuxK does not count. */
  readonly fired: Float32Array;
}

/** Numbers of one Adam step; the names are those of `stepFeeds`. */
export interface SparseUpdate {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly correction1: number;
  readonly correction2: number;
  /** Infinity: no clipping. Finite needs `keepsGradients`. */
  readonly clipNorm: number;
  /** Gradients of what the pairs do not touch, by parameter: W_Q, W_K, b_Q, b_K, and ln_q, ln_k where there are. */
  readonly dense: Readonly<Record<string, Tensor<'f32'>>>;
}

/** The gradients of the rows: W_V, W_O `[ov_head, d_model]`, b_V `[ov_head]`, and b_D `[d_model]` where it is trained. */
export type RowGradients = Readonly<Record<string, Tensor<'f32'>>>;

/**
 * What the `sparse` backend computes on active (token, head) pairs alone, over one shared memory in which parameters and
 * moments live. One step: the engine's first graph into `mixed` and `reads`, `gate`, `backward`, the second graph on
 * `cotangent`, `update`. One call at a time.
 *
 *   z̃_ti = read_ti + b_V_i                  rank = z̃ ‖w_o‖ (size when signed; z̃ alone where the config says so)
 *   e_t = Σ_i z_ti w_o_i + b_D − y_t        de_t = 2 valid_t e_t / tokens        dz_ti = de_t·w_o_i
 *   U^h_t = Σ_{i in group h} dz_ti w_v_i    dw_o_i = Σ_t z_ti de_t               dw_v_i = Σ_t dz_ti (A^h x)_t
 *   db_V_i = Σ_t dz_ti (rows of A sum to 1) db_D = Σ_t de_t
 *
 * The results do not depend on the number of threads, bit for bit.
 */
export interface SparseKernels {
  /**
   * Parameters and moments under their feed names (`stateFeeds`): feeds of the engine without a copy. A state is loaded by
   * writing them, then `measureNorms`.
   */
  readonly state: Readonly<Record<string, Tensor<'f32'>>>;
  /** ‖w_o‖ `[ov_head]`: what the gate weighs with. `update` keeps it true. */
  readonly decoderNorms: Tensor<'f32'>;
  /**
   * A x of every group, `[qk_head, batch, pos, d_model]` over the shared memory: written by the first graph (or copied
   * there) before `backward`.
   */
  mixed(batch: number, pos: number): Tensor<'f32'>;
  /** What each head reads, (A x)·w_v, `[qk_head, token, ov_head]` of the group: written by the first graph before `gate`. */
  reads(batch: number, pos: number): Tensor<'f32'>;
  /** U in the same layout: what `backward` leaves for the second graph. */
  cotangent(batch: number, pos: number): Tensor<'f32'>;
  measureNorms(): Promise<void>;
  /** The winners of every token and their z. A NaN among a token's ranks becomes its first z. */
  gate(gate: SparseGate): Promise<SparseChoice>;
  /** Error, dz and U of a batch. Asserts what `SparseSizes` promised. */
  backward(batch: SparseBatch): Promise<SparseSums>;
  /** The rows' gradients of the last `backward`, as copies: for tests and comparisons. Needs `keepsGradients`. */
  rowGradients(): Promise<RowGradients>;
  /**
   * Adam on every parameter, every row: a head without a pair still decays. Returns the norm of all gradients before
   * clipping; with a finite `clipNorm` and a norm that is not finite nothing is changed.
   */
  update(update: SparseUpdate): Promise<{ readonly gradientNorm: number }>;
  /** Ends the threads; the memory is released when its last view goes. */
  close(): Promise<void>;
}
