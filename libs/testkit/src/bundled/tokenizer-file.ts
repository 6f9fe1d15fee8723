import type { Json } from '@heddle/core';
import { type Bpe, END_OF_TEXT } from './bpe.ts';

/** `tokenizer.json` as the `tokenizers` library reads it: byte-level BPE, no space put before the text. */
export function tokenizerJson(bpe: Bpe): Json {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: bpe.endOfText,
        content: END_OF_TEXT,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: byteLevel(),
    post_processor: { ...byteLevel(), trim_offsets: false },
    decoder: byteLevel(),
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(bpe.vocab),
      // The older spelling, one string per merge, is the one that every reader knows.
      merges: bpe.merges.map(([left, right]) => `${left} ${right}`),
    },
  };
}

function byteLevel(): { [key: string]: Json } {
  return { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
}

export function tokenizerConfigJson(n_ctx: number): Json {
  return {
    add_bos_token: false,
    add_prefix_space: false,
    bos_token: END_OF_TEXT,
    clean_up_tokenization_spaces: false,
    eos_token: END_OF_TEXT,
    model_max_length: n_ctx,
    tokenizer_class: 'PreTrainedTokenizerFast',
    unk_token: null,
  };
}
