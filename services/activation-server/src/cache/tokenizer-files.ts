import { createHash } from 'node:crypto';
import type { ModelFolder } from '@heddle/ports';
import { TOKENIZER_BYTES_MAX } from '../limits.ts';

export interface TokenizerFiles {
  /** Of all that decides which ids a text becomes; empty for a model without a tokenizer. */
  readonly digest: string;
  readonly padId: number | undefined;
}

const FILES = ['tokenizer.json', 'tokenizer_config.json'] as const;

/** *What a tokenizer is made from*, and its padding token, which the port does not tell. */
export async function readTokenizerFiles(folder: ModelFolder): Promise<TokenizerFiles> {
  if (!folder.files.includes(FILES[0])) return { digest: '', padId: undefined };
  const hash = createHash('sha256');
  const texts: string[] = [];
  for (const name of FILES) {
    const text = folder.files.includes(name)
      ? await folder.readText(name, TOKENIZER_BYTES_MAX)
      : '';
    hash.update(`${name} ${text.length}\n`).update(text);
    texts.push(text);
  }
  const [tokenizer = '', config = ''] = texts;
  return { digest: `sha256:${hash.digest('hex')}`, padId: padId(tokenizer, config) };
}

/** Both files were read by the tokenizer before: what is not as expected here has no padding token. */
function padId(tokenizer: string, config: string): number | undefined {
  const named = fields(config)['pad_token'];
  const content = typeof named === 'string' ? named : fields(named)['content'];
  const added = fields(tokenizer)['added_tokens'];
  if (typeof content !== 'string' || !Array.isArray(added)) return undefined;
  const id = added.map(fields).find((token) => token['content'] === content)?.['id'];
  return typeof id === 'number' ? id : undefined;
}

function fields(value: unknown): Readonly<Record<string, unknown>> {
  const parsed = typeof value === 'string' && value !== '' ? (JSON.parse(value) as unknown) : value;
  return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {};
}
