export const FAMILIES = ['gpt2', 'gpt_neox', 'llama', 'qwen2', 'qwen3'] as const;

export type Family = (typeof FAMILIES)[number];

export type Activation = 'gelu' | 'gelu_tanh' | 'relu' | 'silu';

/** Rotary positions: the first `dims` of a head are turned in pairs (i, i + dims/2) by `pos · frequencies[i]`. */
export interface Rotary {
  readonly kind: 'rotary';
  readonly dims: number;
  /** Radians a position, dims/2 of them, scaling already applied. */
  readonly frequencies: readonly number[];
  /** Factor on cos and sin; 1 except for YaRN. */
  readonly amplitude: number;
}

/** What a checkpoint computes, in one vocabulary for all families. Every field changes numbers, or bounds a request. */
export interface ModelConfig {
  readonly family: Family;
  readonly n_layers: number;
  readonly n_heads: number;
  readonly n_key_value_heads: number;
  readonly d_model: number;
  readonly d_head: number;
  readonly d_mlp: number;
  readonly d_vocab: number;
  /** Positions of the longest prompt. */
  readonly n_ctx: number;
  readonly norm: { readonly kind: 'layer' | 'rms'; readonly epsilon: number };
  readonly positions: { readonly kind: 'learned' } | Rotary;
  readonly mlp: { readonly gated: boolean; readonly activation: Activation };
  /** Per layer, a divisor: scores = q kᵀ / attn_scale. */
  readonly attn_scale: readonly number[];
  readonly biases: { readonly qkv: boolean; readonly out: boolean; readonly mlp: boolean };
  /** RMS norm of every query and key head before rotary (Qwen3). */
  readonly qkNorm: boolean;
  /** MLP and attention both read resid_pre (Pythia); there is no resid_mid. */
  readonly parallelResidual: boolean;
  readonly tiedEmbeddings: boolean;
  readonly bosTokenId: number | undefined;
  readonly eosTokenIds: readonly number[];
}
