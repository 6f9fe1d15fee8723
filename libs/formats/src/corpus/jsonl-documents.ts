import { invalidArgument } from '@heddle/core';
import type { CorpusDocument } from './corpus-file.ts';
import { cutText } from './cut-text.ts';
import { DOCUMENT_TOKENS_MAX } from './limits.ts';
import type { ByteLine } from './scan-lines.ts';

/**
 * The documents of one line of jsonl, `{"text": …}` or `{"tokens": […]}`; other members are the writer's business, a blank line is
 * none. Errors: `invalid_argument` with file and line.
 */
export function lineDocuments(file: string, { bytes, at, line }: ByteLine): CorpusDocument[] {
  const source = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes).trim();
  if (source === '') return [];
  return documentsOf(parse(file, line, source), { file, place: `line ${line}`, at, line });
}

export interface Found {
  readonly file: string;
  /** `line 12`, `row 12`. */
  readonly place: string;
  readonly at: number;
  readonly line: number;
}

/** Documents of a record with a member `text` or `tokens`; null and empty text are none. */
export function documentsOf(value: unknown, found: Found): CorpusDocument[] {
  const { at, line } = found;
  const record = typeof value === 'object' && value !== null ? value : {};
  const { text, tokens } = record as Readonly<Record<string, unknown>>;
  if (typeof text === 'string') return cutText(text).map((piece) => ({ at, line, text: piece }));
  if (tokens !== undefined && tokens !== null) {
    const ids = checkTokens(tokens, found);
    return ids.length === 0 ? [] : [{ at, line, tokens: ids }];
  }
  if (text === null) return [];
  throw refuse(found, 'neither "text", a string, nor "tokens", a list of ids');
}

function checkTokens(tokens: unknown, found: Found): readonly number[] {
  if (!Array.isArray(tokens) && !ArrayBuffer.isView(tokens)) {
    throw refuse(found, '"tokens" is no list of ids');
  }
  const ids = Array.from(tokens as ArrayLike<number | bigint>, Number);
  if (ids.length > DOCUMENT_TOKENS_MAX) {
    throw refuse(found, `${ids.length} tokens; at most ${DOCUMENT_TOKENS_MAX} are one document`);
  }
  const bad = ids.findIndex((id) => !Number.isSafeInteger(id) || id < 0);
  if (bad >= 0) throw refuse(found, `"tokens"[${bad}] is no id: whole numbers from 0`);
  return ids;
}

function parse(file: string, line: number, source: string): unknown {
  try {
    return JSON.parse(source) as unknown;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`${file} line ${line}: not JSON: ${why}`, {
      field: 'corpus',
      details: { file, line },
      cause,
    });
  }
}

const refuse = ({ file, place, line }: Found, why: string) =>
  invalidArgument(`${file} ${place}: ${why}`, { field: 'corpus', details: { file, line } });
