import { invalidArgument, resourceExhausted } from '@heddle/core';
import { JSONL_LINE_CHARS_MAX, JSONL_LINES_MAX } from '../limits.ts';

export interface JsonlLine {
  /** Counted from 1, as an editor shows it. */
  readonly line: number;
  readonly value: unknown;
}

/**
 * *JSON Lines*: one JSON document a line; blank lines are skipped, a byte-order mark is not text.
 * Errors: `invalid_argument` with file and line; `resource_exhausted` past the limits of lines and characters.
 */
export function readJsonl(file: string, text: string): readonly JsonlLine[] {
  const out: JsonlLine[] = [];
  let line = 0;
  for (let start = text.startsWith('\uFEFF') ? 1 : 0; start < text.length; ) {
    line++;
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    if (line > JSONL_LINES_MAX) {
      throw resourceExhausted(`${file}: more than ${JSONL_LINES_MAX} lines`, {
        retryable: false,
        details: { file, limit: JSONL_LINES_MAX },
      });
    }
    if (end - start > JSONL_LINE_CHARS_MAX) {
      throw resourceExhausted(`${file}:${line}: longer than ${JSONL_LINE_CHARS_MAX} characters`, {
        retryable: false,
        details: { file, line, limit: JSONL_LINE_CHARS_MAX },
      });
    }
    const source = text.slice(start, end).trim();
    start = end + 1;
    if (source !== '') out.push({ line, value: parseLine(file, line, source) });
  }
  return out;
}

/** One document a line, each ended by a line feed. */
export function writeJsonl(values: readonly unknown[]): string {
  return values.map((value) => `${JSON.stringify(value)}\n`).join('');
}

function parseLine(file: string, line: number, source: string): unknown {
  try {
    return JSON.parse(source) as unknown;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`${file}:${line}: not JSON: ${why}`, { details: { file, line }, cause });
  }
}
