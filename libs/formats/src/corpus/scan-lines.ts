import { OperationError } from '@heddle/core';
import type { CorpusFile, CorpusRange } from './corpus-file.ts';
import { cutLength } from './cut-text.ts';
import { LINE_BYTES_MAX, READ_BYTES } from './limits.ts';
import { joinBytes } from './utf8.ts';

/** A line without its end. */
export interface ByteLine {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly line: number;
  /** Only a piece of a line that is too long to be one. */
  readonly cut: boolean;
}

const NEWLINE = 10;

/** A byte-order mark is not text. */
const BOM = [0xef, 0xbb, 0xbf];

/**
 * *The lines of a range of a file*, as many at a time as one read gives. A line past the limit is refused, or with `cut` handed on
 * in pieces. Errors: `invalid_argument` with file, line and limit.
 */
export async function* scanLines(
  { name, source }: CorpusFile,
  { from, end }: CorpusRange,
  { cut, onChunk = () => {} }: { readonly cut: boolean; onChunk?(bytes: Uint8Array): void },
): AsyncGenerator<readonly ByteLine[]> {
  let rest: Uint8Array = new Uint8Array(0);
  let { at, line } = from;
  for (let offset = at; offset < end; ) {
    const chunk = await source.read(offset, Math.min(READ_BYTES, end - offset));
    onChunk(chunk);
    rest = joinBytes(rest, chunk);
    offset += chunk.length;
    if (at === 0 && BOM.every((byte, i) => rest[i] === byte)) {
      at = BOM.length;
      rest = rest.subarray(at);
    }
    if (at === 0 && rest.length < BOM.length && offset < end) continue;
    const lines: ByteLine[] = [];
    const take = (length: number, piece: boolean): void => {
      lines.push({ bytes: rest.subarray(0, length), at, line, cut: piece });
      rest = rest.subarray(length);
      at += length;
    };
    for (;;) {
      const newline = rest.indexOf(NEWLINE);
      const length = newline < 0 ? rest.length : newline;
      if (!cut && length > LINE_BYTES_MAX) throw tooLong(name, line);
      const piece = cut ? cutLength(rest.subarray(0, length)) : length;
      if (piece < length) take(piece, true);
      else if (newline >= 0) {
        take(length, false);
        rest = rest.subarray(1);
        at++;
        line++;
      } else break;
    }
    if (offset >= end && rest.length > 0) take(rest.length, false);
    yield lines;
  }
}

function tooLong(file: string, line: number): OperationError {
  return new OperationError({
    code: 'invalid_argument',
    message: `${file} line ${line}: longer than ${LINE_BYTES_MAX} bytes; write one document a line`,
    field: 'corpus',
    details: { file, line, limit: LINE_BYTES_MAX },
  });
}
