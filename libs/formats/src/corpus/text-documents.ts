import type { CorpusFile, CorpusPlace, CorpusRange } from './corpus-file.ts';
import { DOCUMENT_BYTES_MAX, JOINED_BYTES_MAX, TEXT_DOCUMENTS } from './limits.ts';
import { type ByteLine, scanLines } from './scan-lines.ts';

/** A document before its bytes are text; an empty line stands between its paragraphs. */
export interface ByteText extends CorpusPlace {
  readonly lines: readonly Uint8Array[];
}

const isBlank = (bytes: Uint8Array): boolean =>
  bytes.every((byte) => byte === 32 || (byte >= 9 && byte <= 13));

/**
 * *Documents of a text*: paragraphs (lines up to a blank one), as many together as make `joinedBytes`: short ones alone would leave
 * sequences half empty. One that would be longer than a document may be ends before the line that does not fit. Where each
 * begins is a place to begin reading: what follows depends on the bytes from there on and the file's size alone.
 */
export async function* scanText(
  file: CorpusFile,
  range: CorpusRange,
  onChunk?: (bytes: Uint8Array) => void,
): AsyncGenerator<readonly ByteText[]> {
  const enough = joinedBytes(file.source.bytes);
  let open: ByteLine[] = [];
  let bytes = 0;
  const closed = (): ByteText[] => {
    const [first] = open;
    const lines = open.map((each) => each.bytes);
    if (lines.at(-1)?.length === 0) lines.pop();
    open = [];
    bytes = 0;
    return first ? [{ at: first.at, line: first.line, lines }] : [];
  };
  const options = { cut: true, ...(onChunk ? { onChunk } : {}) };
  for await (const lines of scanLines(file, range, options)) {
    const done: ByteText[] = [];
    for (const line of lines) {
      if (isBlank(line.bytes)) {
        if (bytes >= enough) done.push(...closed());
        else if (open.at(-1)?.bytes.length) open.push({ ...line, bytes: new Uint8Array() });
        continue;
      }
      if (bytes + line.bytes.length + 1 > DOCUMENT_BYTES_MAX) done.push(...closed());
      open.push(line);
      bytes += line.bytes.length + 1;
      if (line.cut) done.push(...closed());
    }
    yield done;
  }
  yield closed();
}

/** A hundredth of the file, so that a small text still has documents to hold out, and at most some thousand tokens. */
const joinedBytes = (fileBytes: number): number =>
  Math.min(JOINED_BYTES_MAX, Math.floor(fileBytes / TEXT_DOCUMENTS));

/** A document's text, line ends as `\n`. */
export function documentText({ lines }: ByteText): string {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
  return lines
    .map((line) => decoder.decode(line.at(-1) === 13 ? line.subarray(0, -1) : line))
    .join('\n');
}
