import type { Init, Tokenizer } from '@heddle/ports';
import type { Prompt, TokenizeOptions } from '@heddle/ports/proto/common';
import { TEXT_BYTES_MAX } from './limits.ts';
import type { ModelReading } from './open-model.ts';
import { refuse } from './refuse-field.ts';

/**
 * What the model reads: ids as they are, or text as tokenizer.json says. Errors: `invalid_argument` for an id out of
 * range, a prompt past n_ctx, an empty one, and for text where there is no tokenizer.
 */
export function tokensOf(
  prompt: Prompt | null,
  options: TokenizeOptions | null,
  { model: { config }, tokenizer }: ModelReading,
  field: string,
): readonly number[] {
  const { n_ctx, d_vocab } = config;
  let tokens: readonly number[];
  if (prompt?.tokens) tokens = prompt.tokens.ids;
  else if (prompt?.text !== undefined) tokens = encode(prompt.text, options, tokenizer, field);
  else throw refuse(field, 'neither text nor tokens');
  if (tokens.length === 0) throw refuse(field, 'no token: a prompt has at least one');
  if (tokens.length > n_ctx) {
    throw refuse(field, `${tokens.length} tokens; the model reads at most ${n_ctx}`, {
      limit: n_ctx,
      tokens: tokens.length,
    });
  }
  const bad = tokens.findIndex((id) => !Number.isInteger(id) || id < 0 || id >= d_vocab);
  if (bad >= 0) {
    const id = tokens[bad] as number;
    const message = `${id} is no token of the model; ids are 0 to ${d_vocab - 1}`;
    throw refuse(`${field}.tokens.ids[${bad}]`, message, { limit: d_vocab - 1, id });
  }
  return tokens;
}

/** Text as ids, of any number. Errors: those of `tokensOf` that are about text. */
export function encode(
  text: string,
  options: Init<TokenizeOptions> | null,
  tokenizer: Tokenizer | undefined,
  field: string,
): readonly number[] {
  const { bos = false, no_special = false } = options ?? {};
  if (bos && no_special) throw refuse('options.bos', 'excludes options.no_special');
  if (!tokenizer) throw refuse(`${field}.text`, 'the model has no tokenizer.json: send token ids');
  const bytes = Buffer.byteLength(text);
  if (bytes > TEXT_BYTES_MAX) {
    throw refuse(`${field}.text`, `${bytes} bytes; at most ${TEXT_BYTES_MAX}`, {
      limit: TEXT_BYTES_MAX,
      bytes,
    });
  }
  const ids = tokenizer.encode(text, { addSpecialTokens: !no_special });
  if (!bos) return ids;
  const { bosId } = tokenizer;
  if (bosId === undefined) throw refuse('options.bos', 'the model names no BOS token');
  return ids[0] === bosId ? ids : [bosId, ...ids];
}
