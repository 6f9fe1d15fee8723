import type { Matrix } from '@heddle/linalg';

/** How positions turn queries and keys. */
export interface Rotary {
  /**
   * `half_split`: dimension i turns with i + n/2 (Llama, NeoX, Qwen). `adjacent`: 2i with 2i + 1
   * (GPT-J).
   */
  readonly layout: 'half_split' | 'adjacent';
  /**
   * The first this many dimensions of a head turn; the rest pass. Twice the number of frequencies.
   */
  readonly dims: number;
  /** Radians per position, after the family's scaling. */
  readonly frequencies: Float64Array;
  /** Multiplies what turns (YaRN's attention factor); 1 for most. */
  readonly amplitude: number;
}

/** What the mathematics has to know about a model; the words are TransformerLens'. */
export interface HostShape {
  readonly n_layers: number;
  readonly n_heads: number;
  readonly n_key_value_heads: number;
  readonly d_model: number;
  readonly d_head: number;
  readonly d_vocab: number;
  /** `layer`: mean and scale (GPT-2, NeoX). `rms`: scale only (Llama, Qwen). */
  readonly norm: 'layer' | 'rms';
  readonly normEpsilon: number;
  /** Scores are q·k divided by this; one per layer. */
  readonly attnScale: readonly number[];
  /** Null: positions are added to the embedding. */
  readonly rotary: Rotary | null;
}

/** Gain and bias of a normalisation; no bias is null. */
export interface Affine {
  readonly gain: Float64Array;
  readonly bias: Float64Array | null;
}

/**
 * One block's attention as the checkpoint has it, cut into heads. Absent biases and norms are null.
 */
export interface HostLayerWeights {
  readonly ln1: Affine;
  /** Per head, `[d_model, d_head]`. */
  readonly W_Q: readonly Matrix[];
  /** Per kv_head, `[d_model, d_head]`. */
  readonly W_K: readonly Matrix[];
  readonly W_V: readonly Matrix[];
  /** Per head, `[d_head, d_model]`. */
  readonly W_O: readonly Matrix[];
  readonly b_Q: readonly Float64Array[] | null;
  readonly b_K: readonly Float64Array[] | null;
  readonly b_V: readonly Float64Array[] | null;
  readonly b_O: Float64Array | null;
  /** Gain of the RMS norm over d_head of queries and keys (Qwen3); null for the other families. */
  readonly qNorm: Float64Array | null;
  readonly kNorm: Float64Array | null;
}

/**
 * The unembedding, one row per word: `[d_vocab, d_model]`, the transpose of W_U, as checkpoints
 * store it.
 */
export interface Unembedding {
  readonly rows: Float32Array | Float64Array;
  readonly b_U: Float64Array | null;
  readonly lnFinal: Affine;
}

/**
 * A model's attention and unembedding. Layers are read when asked for: a question on layer 0 reads
 * no other.
 */
export interface HostWeights {
  readonly shape: HostShape;
  layer(index: number): HostLayerWeights;
  unembedding(): Unembedding;
}
