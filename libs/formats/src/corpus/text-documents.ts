import type { CorpusFile, CorpusPlace, CorpusRange } from './corpus-file.ts';
import { DOCUMENT_BYTES_MAX } from './limits.ts';
import { type ByteLine, scanLines } from './scan-lines.ts';

/** A paragraph before its bytes are text. */
export interface ByteParagraph extends CorpusPlace {
  readonly lines: readonly Uint8Array[];
}

const isBlank = (bytes: Uint8Array): boolean =>
  bytes.every((byte) => byte === 32 || (byte >= 9 && byte <= 13));

/**
 * *Paragraphs of a text*: lines up to a blank one. One that would be longer than a document may be ends before the line that
 * does not fit. Where each begins is a place to begin reading: what follows depends on the bytes from there on alone.
 */
export async function* scanParagraphs(
  file: CorpusFile,
  range: CorpusRange,
  onChunk?: (bytes: Uint8Array) => void,
): AsyncGenerator<readonly ByteParagraph[]> {
  let open: ByteLine[] = [];
  let bytes = 0;
  const options = { cut: true, ...(onChunk ? { onChunk } : {}) };
  for await (const lines of scanLines(file, range, options)) {
    const done: ByteParagraph[] = [];
    const close = (): void => {
      const [first] = open;
      if (first) {
        done.push({ at: first.at, line: first.line, lines: open.map((each) => each.bytes) });
      }
      open = [];
      bytes = 0;
    };
    for (const line of lines) {
      const blank = isBlank(line.bytes);
      if (blank || bytes + line.bytes.length + 1 > DOCUMENT_BYTES_MAX) close();
      if (!blank) {
        open.push(line);
        bytes += line.bytes.length + 1;
      }
      if (line.cut) close();
    }
    yield done;
  }
  const [first] = open;
  if (first) yield [{ at: first.at, line: first.line, lines: open.map((each) => each.bytes) }];
}

/** A paragraph's text, line ends as `\n`. */
export function paragraphText({ lines }: ByteParagraph): string {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return lines
    .map((line) => decoder.decode(line.at(-1) === 13 ? line.subarray(0, -1) : line))
    .join('\n');
}
