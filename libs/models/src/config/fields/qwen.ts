import { type FieldTable, harmless, honoured } from '../field-table.ts';
import { LLAMA_LIKE_FIELDS } from './llama.ts';

const SLIDING: FieldTable = {
  use_sliding_window: honoured('refused where it makes a layer attend to a window only'),
  sliding_window: honoured('matters only with use_sliding_window'),
  max_window_layers: honoured('the first layer with a window'),
  layer_types: honoured('every layer must say full_attention'),
};

/** Qwen2 has biases on q, k and v, always, and on nothing else. */
export const QWEN2_FIELDS: FieldTable = {
  ...LLAMA_LIKE_FIELDS,
  ...SLIDING,
  attention_bias: harmless('Qwen2 has its biases whatever this says'),
};

export const QWEN3_FIELDS: FieldTable = {
  ...LLAMA_LIKE_FIELDS,
  ...SLIDING,
  attention_bias: honoured('biases of q, k, v and o'),
};
