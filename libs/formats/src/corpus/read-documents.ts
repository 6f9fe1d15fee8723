import { dataLoss } from '@heddle/core';
import type { CorpusDocument, CorpusFile, CorpusRange } from './corpus-file.ts';
import { lineDocuments } from './jsonl-documents.ts';
import { openParquet, parquetDocuments } from './parquet-documents.ts';
import { scanLines } from './scan-lines.ts';
import { documentText, scanText } from './text-documents.ts';

/**
 * *Documents of a range of a corpus file*, in order, in bounded memory. A text that is too long for one document is several with the
 * same place. Errors: those of indexing; `data_loss` where bytes are no longer what was indexed.
 */
export async function* readDocuments(
  file: CorpusFile,
  range: CorpusRange,
): AsyncGenerator<CorpusDocument> {
  for await (const documents of portions(file, range)) yield* documents;
}

async function* portions(
  file: CorpusFile,
  range: CorpusRange,
): AsyncGenerator<readonly CorpusDocument[]> {
  if (range.from.at >= range.end) return;
  if (file.format === 'parquet') {
    yield* parquetDocuments(file, await openParquet(file), range);
    return;
  }
  try {
    if (file.format === 'text') {
      for await (const texts of scanText(file, range)) {
        yield texts.map((text) => {
          const { at, line } = text;
          return { at, line, text: documentText(text) };
        });
      }
      return;
    }
    for await (const lines of scanLines(file, range, { cut: false })) {
      yield lines.flatMap((line) => lineDocuments(file.name, line));
    }
  } catch (thrown) {
    if (!(thrown instanceof TypeError)) throw thrown;
    throw dataLoss(`${file.name}: no longer UTF-8; it has changed since it was indexed`, {
      field: 'corpus',
      cause: thrown,
    });
  }
}
