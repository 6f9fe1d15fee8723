/** What becomes of one field of config.json. */
export type FieldRule =
  | { readonly kind: 'honoured'; readonly note: string }
  | { readonly kind: 'harmless'; readonly note: string }
  /** Accepted only with one of these values (absent counts as accepted): another would change numbers that we do not compute. */
  | { readonly kind: 'refused'; readonly unless: readonly unknown[]; readonly note: string };

/** Every field of a transformers config class, and the older spellings that published files carry. */
export type FieldTable = Readonly<Record<string, FieldRule>>;

export const honoured = (note: string): FieldRule => ({ kind: 'honoured', note });
export const harmless = (note: string): FieldRule => ({ kind: 'harmless', note });
export const refused = (unless: readonly unknown[], note: string): FieldRule => ({
  kind: 'refused',
  unless,
  note,
});

const dropout = harmless('dropout; inference has none');
const head = harmless('a classifier beside the language model');

/** Fields that every config class has (transformers' PreTrainedConfig), and those of older versions that matter. */
export const COMMON_FIELDS: FieldTable = {
  model_type: honoured('the family'),
  architectures: harmless('the class that saved it; the tensors decide'),
  dtype: harmless('the tensors say their own type'),
  torch_dtype: harmless('the tensors say their own type'),
  transformers_version: harmless('which version saved it'),
  return_dict: harmless('an output format of transformers'),
  output_hidden_states: harmless('an output format of transformers'),
  output_attentions: harmless('an output format of transformers'),
  use_cache: harmless('a cache of keys and values, which does not change them'),
  chunk_size_feed_forward: harmless('the MLP in pieces, with the same result'),
  id2label: head,
  label2id: head,
  problem_type: head,
  initializer_range: harmless('used before training'),
  is_encoder_decoder: refused([false, null], 'only decoders are read'),
  quantization_config: refused(
    [null],
    'quantised weights are not read; save the model dequantised',
  ),
  pruned_heads: refused([null, {}], 'pruned heads are not read'),
  per_layer_config: refused([null], 'layers that differ from each other are not read'),
  vocab_size: honoured('d_vocab'),
  bos_token_id: honoured('what --bos prepends'),
  eos_token_id: honoured('reported'),
  unk_token_id: harmless('the tokenizer knows its own'),
  _name_or_path: harmless('where it was loaded from before it was saved'),
  pad_token_id: harmless('prompts are padded behind their end, which causal attention never sees'),
  tie_word_embeddings: honoured('W_U is W_E'),
};

export const DROPOUT = dropout;
export const CLASSIFIER = head;

/** Rotary positions, in the spelling of transformers 5 (`rope_parameters`) and in the older one. */
export const ROTARY_FIELDS: FieldTable = {
  rope_parameters: honoured('rotary type, base and scaling: default, linear, llama3, yarn'),
  rope_scaling: honoured('the older name of rope_parameters'),
  rope_theta: honoured('rotary base, older place'),
  original_max_position_embeddings: honoured('trained length, for llama3 and yarn'),
};
