import { resourceExhausted } from '@heddle/core';
import type { CorpusFile, CorpusPlace } from './corpus-file.ts';
import { lineDocuments } from './jsonl-documents.ts';
import { FILE_DOCUMENTS_MAX, MARK_BYTES_MIN, MARKS_MAX } from './limits.ts';
import { openParquet } from './parquet-documents.ts';
import { scanLines } from './scan-lines.ts';
import { scanText } from './text-documents.ts';
import { Utf8Check } from './utf8.ts';

/** Where reading a file can begin, and where its held-out part does. */
export interface FileIndex {
  /** Bytes of a text or jsonl file, rows of a parquet file: the unit of every `at`. */
  readonly size: number;
  /** What its text weighs, in bytes, for dividing work. */
  readonly weight: number;
  /** Of a parquet file its rows, also those without text. */
  readonly documents: number;
  /** Places where documents begin, ascending, about evenly spaced; the first document's is the first. */
  readonly marks: readonly CorpusPlace[];
  /**
   * The first held-out document: the first that begins in the last tenth, or the last one. The size of a file with fewer than
   * two documents, which has none.
   */
  readonly heldOut: CorpusPlace;
}

/**
 * *Index of a corpus file*, in one pass; a text or jsonl file is read once from its beginning to its end, each chunk told to `onChunk`.
 * Errors: `invalid_argument` with the file and the byte, line or row that cannot be read; `resource_exhausted` for too many documents.
 */
export async function indexCorpusFile(
  file: CorpusFile,
  onChunk: (bytes: Uint8Array) => void = () => {},
): Promise<FileIndex> {
  if (file.format === 'parquet') return indexParquet(file);
  const size = file.source.bytes;
  const marks = new Marks(file.name, size);
  const range = { from: { at: 0, line: 1 }, end: size };
  const utf8 = new Utf8Check(file.name);
  let seen = 0;
  const check = (bytes: Uint8Array): void => {
    onChunk(bytes);
    seen += bytes.length;
    utf8.add(bytes, seen === size);
  };
  if (file.format === 'text') {
    for await (const texts of scanText(file, range, check)) {
      for (const text of texts) marks.add(text);
    }
  } else {
    for await (const lines of scanLines(file, range, { cut: false, onChunk: check })) {
      for (const line of lines) if (lineDocuments(file.name, line).length > 0) marks.add(line);
    }
  }
  return marks.index();
}

async function indexParquet(file: CorpusFile): Promise<FileIndex> {
  const { rows, columnBytes } = await openParquet(file);
  const count = Math.min(rows, MARKS_MAX);
  const at = (row: number): CorpusPlace => ({ at: row, line: row + 1 });
  return {
    size: rows,
    weight: columnBytes,
    documents: rows,
    marks: Array.from({ length: count }, (_, i) => at(Math.floor((i * rows) / count))),
    heldOut: rows < 2 ? at(rows) : at(Math.min(rows - 1, Math.ceil(0.9 * rows))),
  };
}

/** Collects places of documents; keeps every second one and spaces them wider whenever there are too many. */
class Marks {
  private readonly file: string;
  private readonly size: number;
  private marks: CorpusPlace[] = [];
  private spacing = MARK_BYTES_MIN;
  private documents = 0;
  private last: CorpusPlace | undefined;
  private heldOut: CorpusPlace | undefined;

  constructor(file: string, size: number) {
    this.file = file;
    this.size = size;
  }

  add({ at, line }: CorpusPlace): void {
    const place = { at, line };
    if (++this.documents > FILE_DOCUMENTS_MAX) {
      throw resourceExhausted(
        `${this.file}: more than ${FILE_DOCUMENTS_MAX} documents; split the file`,
        {
          field: 'corpus',
          retryable: false,
          details: { file: this.file, limit: FILE_DOCUMENTS_MAX },
        },
      );
    }
    if (this.last && this.heldOut === undefined && at >= 0.9 * this.size) this.heldOut = place;
    this.last = place;
    const before = this.marks.at(-1);
    if (before !== undefined && at < before.at + this.spacing) return;
    this.marks.push(place);
    if (this.marks.length <= MARKS_MAX) return;
    this.marks = this.marks.filter((_, i) => i % 2 === 0);
    this.spacing *= 2;
  }

  index(): FileIndex {
    const { size, documents, marks, last } = this;
    const none = { at: size, line: (last?.line ?? 0) + 1 };
    const heldOut = documents < 2 ? none : (this.heldOut ?? last ?? none);
    return { size, weight: size, documents, marks, heldOut };
  }
}
