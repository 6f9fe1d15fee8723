/** Bytes that can be read in parts; whoever opens files gives one. */
export interface ByteSource {
  readonly bytes: number;
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** Paragraphs, one JSON document a line, or rows of a table. */
export type CorpusFormat = 'text' | 'jsonl' | 'parquet';

export interface CorpusFile {
  /** As errors name it. */
  readonly name: string;
  readonly format: CorpusFormat;
  readonly source: ByteSource;
}

/** Where a document begins: a byte of a text or jsonl file, a row of a parquet file; and its line, counted from 1. */
export interface CorpusPlace {
  readonly at: number;
  readonly line: number;
}

/** Documents that begin at or after `from` and before `end`. */
export interface CorpusRange {
  readonly from: CorpusPlace;
  readonly end: number;
}

/** One document of a corpus: text, or token ids. */
export type CorpusDocument = CorpusPlace &
  (
    | { readonly text: string; readonly tokens?: undefined }
    | { readonly tokens: readonly number[]; readonly text?: undefined }
  );

/** `.jsonl` and `.parquet` by name; everything else is text. */
export function corpusFormat(name: string): CorpusFormat {
  const lower = name.toLowerCase();
  if (lower.endsWith('.jsonl')) return 'jsonl';
  return lower.endsWith('.parquet') ? 'parquet' : 'text';
}
