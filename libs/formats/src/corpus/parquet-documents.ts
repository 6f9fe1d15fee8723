import { invalidArgument, OperationError, resourceExhausted } from '@heddle/core';
// Its types alone: the library is loaded with the first parquet file, not with every command.
import type { AsyncBuffer, FileMetaData } from 'hyparquet';
import type { ByteSource, CorpusDocument, CorpusFile, CorpusRange } from './corpus-file.ts';
import { documentsOf } from './jsonl-documents.ts';
import { ROW_GROUP_BYTES_MAX, ROWS_AT_ONCE } from './limits.ts';

/** What a parquet file says of itself. */
export interface ParquetTable {
  readonly metadata: FileMetaData;
  readonly column: 'text' | 'tokens';
  readonly rows: number;
  /** Uncompressed bytes of the column. */
  readonly columnBytes: number;
}

/**
 * Opens a parquet file by its footer. Errors: `invalid_argument` for what is no parquet file or has neither column;
 * `resource_exhausted` for a row group that is too large to be decoded whole.
 */
export async function openParquet({ name, source }: CorpusFile): Promise<ParquetTable> {
  const { parquetMetadataAsync } = await import('hyparquet');
  const metadata = await reading(name, 'its footer', () => parquetMetadataAsync(buffer(source)));
  const [, ...top] = topColumns(metadata);
  const column = (['text', 'tokens'] as const).find((wanted) => top.includes(wanted));
  if (column === undefined) {
    throw invalidArgument(
      `${name}: no column text or tokens; it has ${top.join(', ') || 'none'}: rename the one to be read`,
      { field: 'corpus', details: { file: name } },
    );
  }
  let columnBytes = 0;
  metadata.row_groups.forEach((group, index) => {
    const bytes = group.columns
      .filter(({ meta_data }) => meta_data?.path_in_schema[0] === column)
      .reduce((sum, { meta_data }) => sum + Number(meta_data?.total_uncompressed_size ?? 0), 0);
    columnBytes += bytes;
    if (bytes <= ROW_GROUP_BYTES_MAX) return;
    throw resourceExhausted(
      `${name}: row group ${index} has ${bytes} bytes of ${column}; at most ${ROW_GROUP_BYTES_MAX} are decoded at once: write it with smaller row groups`,
      {
        field: 'corpus',
        retryable: false,
        details: { file: name, limit: ROW_GROUP_BYTES_MAX, bytes },
      },
    );
  });
  return { metadata, column, rows: Number(metadata.num_rows), columnBytes };
}

/** Names at the top of the schema, the root first. */
function topColumns({ schema }: FileMetaData): readonly string[] {
  const names: string[] = [];
  let at = 0;
  const skip = (): void => {
    const children = schema[at++]?.num_children ?? 0;
    for (let i = 0; i < children; i++) skip();
  };
  const root = schema[at++];
  names.push(root?.name ?? '');
  for (let i = 0; i < (root?.num_children ?? 0); i++) {
    names.push(schema[at]?.name ?? '');
    skip();
  }
  return names;
}

/** *Documents of a range of rows*, one row group in memory. Errors: `invalid_argument` with the file and the row. */
export async function* parquetDocuments(
  file: CorpusFile,
  { metadata, column }: ParquetTable,
  { from, end }: CorpusRange,
): AsyncGenerator<readonly CorpusDocument[]> {
  const { parquetRead } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  let first = 0;
  for (const group of metadata.row_groups) {
    const after = first + Number(group.num_rows);
    const rowStart = Math.max(first, from.at);
    const rowEnd = Math.min(after, end);
    first = after;
    if (rowStart >= rowEnd) continue;
    let rows: unknown[][] = [];
    await reading(file.name, `rows ${rowStart} to ${rowEnd - 1}`, () =>
      parquetRead({
        file: buffer(file.source),
        metadata,
        columns: [column],
        rowStart,
        rowEnd,
        compressors,
        parsers: { stringFromBytes: strictText },
        onComplete: (read: unknown[][]) => {
          rows = read;
        },
      }),
    );
    for (let i = 0; i < rows.length; i += ROWS_AT_ONCE) {
      yield rows.slice(i, i + ROWS_AT_ONCE).flatMap((row, j) => {
        const at = rowStart + i + j;
        const place = { file: file.name, place: `row ${at}`, at, line: at + 1 };
        return documentsOf(
          { [column]: row[0] ?? null, ...(row[0] == null && { text: null }) },
          place,
        );
      });
    }
  }
}

/** The library's own decoder puts U+FFFD where bytes are no UTF-8. */
function strictText(bytes: Uint8Array | undefined): string | undefined {
  return bytes && new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
}

function buffer(source: ByteSource): AsyncBuffer {
  return {
    byteLength: source.bytes,
    slice: async (start, end = source.bytes) => {
      const to = Math.min(source.bytes, end < 0 ? source.bytes + end : end);
      const bytes = await source.read(start, Math.max(0, to - start));
      return bytes.buffer.slice(
        bytes.byteOffset,
        bytes.byteOffset + bytes.byteLength,
      ) as ArrayBuffer;
    },
  };
}

/** The library throws plain errors about what it cannot read. */
async function reading<T>(file: string, what: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (cause) {
    if (cause instanceof OperationError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`${file}: ${what} cannot be read as parquet: ${why}`, {
      field: 'corpus',
      details: { file },
      cause,
    });
  }
}
