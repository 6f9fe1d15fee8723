import { assert, type Json } from '@heddle/core';
import { writeSafetensors } from '@heddle/formats';
import { elementCount, type Tensor, tensor } from '@heddle/tensor';
import { LAYER_NORM_EPSILON } from './gpt2-graph.ts';
import { type Gpt2Sizes, gpt2Parameters, parameterCount } from './parameters.ts';

/** `config.json` of transformers' GPT2LMHeadModel; no dropout, since none was trained with. */
export function configJson(sizes: Gpt2Sizes, endOfText: number): Json {
  return {
    activation_function: 'gelu_new',
    architectures: ['GPT2LMHeadModel'],
    attn_pdrop: 0,
    bos_token_id: endOfText,
    embd_pdrop: 0,
    eos_token_id: endOfText,
    initializer_range: 0.02,
    layer_norm_epsilon: LAYER_NORM_EPSILON,
    model_type: 'gpt2',
    n_ctx: sizes.n_ctx,
    n_embd: sizes.d_model,
    n_head: sizes.n_heads,
    n_inner: sizes.d_mlp,
    n_layer: sizes.n_layers,
    n_positions: sizes.n_ctx,
    resid_pdrop: 0,
    tie_word_embeddings: true,
    torch_dtype: 'float32',
    vocab_size: sizes.d_vocab,
  };
}

/** `model.safetensors` under HuggingFace's names. The unembedding is tied, so it is not written twice. */
export function modelFile(sizes: Gpt2Sizes, flat: Tensor<'f32'>): Uint8Array {
  const parameters = gpt2Parameters(sizes);
  assert(flat.data.length === parameterCount(parameters));
  const tensors = parameters.map(({ name, shape, offset }) => {
    const data = flat.data.slice(offset, offset + elementCount(shape));
    return [`transformer.${name}`, tensor('f32', shape, data)] as const;
  });
  // transformers refuses a file that does not say which framework's layout it has.
  return writeSafetensors(Object.fromEntries(tensors), { format: 'pt' });
}
