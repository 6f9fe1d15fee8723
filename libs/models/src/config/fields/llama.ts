import {
  COMMON_FIELDS,
  DROPOUT,
  type FieldTable,
  harmless,
  honoured,
  ROTARY_FIELDS,
  refused,
} from '../field-table.ts';

/** What Llama, Qwen2 and Qwen3 have in common. */
export const LLAMA_LIKE_FIELDS: FieldTable = {
  ...COMMON_FIELDS,
  ...ROTARY_FIELDS,
  hidden_size: honoured('d_model'),
  intermediate_size: honoured('d_mlp'),
  num_hidden_layers: honoured('n_layers'),
  num_attention_heads: honoured('n_heads'),
  num_key_value_heads: honoured('n_key_value_heads; null is n_heads'),
  head_dim: honoured('d_head; null is d_model / n_heads'),
  hidden_act: honoured('silu, gelu, gelu_new (gelu_fast, gelu_pytorch_tanh) or relu'),
  max_position_embeddings: honoured('n_ctx'),
  rms_norm_eps: honoured('epsilon of every norm'),
  partial_rotary_factor: refused([null, 1], 'whole heads are turned'),
  attention_dropout: DROPOUT,
};

export const LLAMA_FIELDS: FieldTable = {
  ...LLAMA_LIKE_FIELDS,
  attention_bias: honoured('biases of q, k, v and o'),
  mlp_bias: honoured('biases of gate, up and down'),
  pretraining_tp: harmless('how matrices were cut while training; the product is the same'),
};
