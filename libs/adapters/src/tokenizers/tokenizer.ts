import { invalidArgument, OperationError } from '@heddle/core';
import type { ModelFolder, TokenizeOptions, Tokenizer } from '@heddle/ports';
import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { bounded } from './bounded.ts';
import {
  BUILD_TIMEOUT_MS,
  CONFIG_JSON_BYTES_MAX,
  ENCODE_TIMEOUT_MS,
  TEXT_CHARS_MAX,
  TOKENIZER_JSON_BYTES_MAX,
} from './limits.ts';
import { isFields, malformed, readTokenizerJson } from './tokenizer-json.ts';

export interface TokenizerTexts {
  readonly tokenizer: string;
  /** tokenizer_config.json: names of the special tokens. */
  readonly tokenizerConfig?: string;
  /** config.json: ids of the special tokens, asked where the other is silent. */
  readonly config?: string;
}

/** A model's own tokenizer, as tokenizer.json says, or undefined for a folder without one (token ids only). */
export async function loadTokenizer(
  folder: ModelFolder,
  encodeTimeoutMs: number = ENCODE_TIMEOUT_MS,
): Promise<Tokenizer | undefined> {
  if (!folder.files.includes('tokenizer.json')) return undefined;
  const optional = async (name: string): Promise<string | undefined> =>
    folder.files.includes(name) ? folder.readText(name, CONFIG_JSON_BYTES_MAX) : undefined;
  const tokenizer = await folder.readText('tokenizer.json', TOKENIZER_JSON_BYTES_MAX);
  const tokenizerConfig = await optional('tokenizer_config.json');
  const config = await optional('config.json');
  const texts = {
    tokenizer,
    ...(tokenizerConfig === undefined ? {} : { tokenizerConfig }),
    ...(config === undefined ? {} : { config }),
  };
  return createTokenizer(texts, encodeTimeoutMs);
}

/** Errors: `invalid_argument` naming what is wrong in which file; `failed_precondition` for what we do not honour. */
export function createTokenizer(
  texts: TokenizerTexts,
  encodeTimeoutMs: number = ENCODE_TIMEOUT_MS,
): Tokenizer {
  const json = readTokenizerJson(texts.tokenizer);
  const names = parseConfig(texts.tokenizerConfig, 'tokenizer_config.json');
  const ids = parseConfig(texts.config, 'config.json');
  const inner = build(json);
  const special = (which: 'bos' | 'eos'): number | undefined => {
    const named = names[`${which}_token`];
    const content = isFields(named) ? named['content'] : named;
    const byName = typeof content === 'string' ? inner.token_to_id(content) : undefined;
    if (byName !== undefined) return byName;
    const listed = ids[`${which}_token_id`];
    const id = Array.isArray(listed) ? listed[0] : listed;
    return typeof id === 'number' && Number.isInteger(id) && id >= 0 ? id : undefined;
  };
  return new BoundedTokenizer(inner, special('bos'), special('eos'), encodeTimeoutMs);
}

function parseConfig(text: string | undefined, file: string): Readonly<Record<string, unknown>> {
  if (text === undefined) return {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (isFields(parsed)) return parsed;
  } catch {
    // Said below, for both ways of being wrong.
  }
  throw invalidArgument(`${file} is not a JSON object`, { field: file });
}

function build(json: object): HuggingFaceTokenizer {
  try {
    // tokenizer_config.json only changes numbers through fields that the Rust library does not know; it is left out.
    const built = bounded(
      () => new HuggingFaceTokenizer(json, {}),
      BUILD_TIMEOUT_MS,
      () => malformed(`takes longer than ${BUILD_TIMEOUT_MS} ms to read`),
    );
    keepByteOrderMarks(built.decoder);
    return built;
  } catch (thrown) {
    if (thrown instanceof OperationError) throw thrown;
    throw unreadable(thrown);
  }
}

const unreadable = (thrown: unknown): Error =>
  malformed(`cannot be used (${thrown instanceof Error ? thrown.message : String(thrown)})`);

/** The library's byte fallback (0.2.0) drops U+FEFF at the start of a run of bytes; the Rust one keeps it. */
function keepByteOrderMarks(decoder: unknown): void {
  if (typeof decoder !== 'function') return;
  const parts = decoder as { text_decoder?: unknown; decoders?: readonly unknown[] };
  if (parts.text_decoder) parts.text_decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  for (const inner of parts.decoders ?? []) keepByteOrderMarks(inner);
}

class BoundedTokenizer implements Tokenizer {
  readonly bosId: number | undefined;
  readonly eosId: number | undefined;
  readonly vocabularySize: number;
  private readonly inner: HuggingFaceTokenizer;
  private readonly encodeTimeoutMs: number;
  /** A plain token, to put before another: many decoders treat the first token of a text in a way of its own. */
  private readonly anchor: { readonly id: number; readonly text: string } | undefined;
  /** Texts of tokens that were asked for; at most the vocabulary. Making one is a hundred microseconds, a prompt has thousands. */
  private readonly texts = new Map<number, string>();

  constructor(
    inner: HuggingFaceTokenizer,
    bosId: number | undefined,
    eosId: number | undefined,
    encodeTimeoutMs: number,
  ) {
    this.inner = inner;
    this.encodeTimeoutMs = encodeTimeoutMs;
    this.bosId = bosId;
    this.eosId = eosId;
    this.vocabularySize = inner.get_vocab().size;
    this.anchor = this.findAnchor();
  }

  encode(text: string, options: TokenizeOptions): readonly number[] {
    if (text.length > TEXT_CHARS_MAX) {
      throw invalidArgument(
        `text of ${text.length} characters; at most ${TEXT_CHARS_MAX} are taken`,
        {
          field: 'text',
          details: { limit: TEXT_CHARS_MAX, characters: text.length },
        },
      );
    }
    if (!text.isWellFormed()) {
      throw invalidArgument('text holds half of a surrogate pair: it is not Unicode', {
        field: 'text',
      });
    }
    const add_special_tokens = options.addSpecialTokens;
    const ids: number[] = this.bounded(() => this.inner.encode(text, { add_special_tokens }).ids);
    if (ids.every((id) => Number.isInteger(id))) return ids;
    throw invalidArgument(
      'the vocabulary has no token for a part of the text, and no unknown token',
      {
        field: 'text',
      },
    );
  }

  decode(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    const known = ids.filter((id) => this.inner.id_to_token(id) !== undefined);
    if (known.length < ids.length) {
      throw invalidArgument('an id is outside of the vocabulary', { field: 'tokens' });
    }
    return this.bounded(() => this.text(known));
  }

  token(id: number): string {
    const known = this.texts.get(id);
    if (known !== undefined) return known;
    const text = this.readToken(id);
    this.texts.set(id, text);
    return text;
  }

  private readToken(id: number): string {
    const raw = this.inner.id_to_token(id);
    if (raw === undefined)
      throw invalidArgument(`id ${id} is outside of the vocabulary`, { field: 'tokens' });
    const { anchor } = this;
    if (!anchor) return raw;
    const whole = this.bounded(() => this.text([anchor.id, id]));
    // Part of a character reads as U+FFFD; the vocabulary's own spelling tells such tokens apart.
    if (whole.includes('\ufffd') || !whole.startsWith(anchor.text)) return raw;
    return whole.slice(anchor.text.length) || raw;
  }

  private findAnchor(): { id: number; text: string } | undefined {
    for (const [token, id] of this.inner.get_vocab(false)) {
      if (/^[a-z]$/.test(token)) return { id, text: this.text([id]) };
    }
    return undefined;
  }

  private text(ids: readonly number[]): string {
    return this.inner.decode([...ids], {
      skip_special_tokens: false,
      clean_up_tokenization_spaces: false,
    });
  }

  private bounded<T>(call: () => T): T {
    const limitMs = this.encodeTimeoutMs;
    try {
      return bounded(call, limitMs, () =>
        invalidArgument(`this text takes this tokenizer longer than ${limitMs} ms`, {
          field: 'text',
          details: { limitMs },
        }),
      );
    } catch (thrown) {
      // The library reads some parts of the file only when they are used; what trips it then is the file, not the text.
      throw thrown instanceof OperationError ? thrown : unreadable(thrown);
    }
  }
}
