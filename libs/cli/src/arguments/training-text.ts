import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { invalidArgument } from '@heddle/core';
import { type CorpusFile, corpusFormat, indexCorpusFile, readDocuments } from '@heddle/formats';
import type { Init } from '@heddle/ports';
import type { Prompt } from '@heddle/ports/proto/common';
import type { TrainingData } from '@heddle/ports/proto/lorsa';
import type { Invocation } from '../invocation.ts';
import { readInput } from './files.ts';

/** Text that travels with the request; more stays in its file, which the server reads. A job's journal keeps 512 KiB of JSON. */
const INLINE_BYTES_MAX = 200_000;

const START = { at: 0, line: 1 };

/**
 * `--corpus PATH`: a folder, a parquet file or a large text stays where it is; the documents of a small one, cut as the
 * server cuts a large one, travel with the request.
 */
export async function readTrainingText(
  invocation: Invocation,
  path: string,
): Promise<Init<TrainingData>> {
  if (path !== '-' && staysInPlace(resolve(invocation.io.workingDirectory, path))) {
    return { corpus: resolve(invocation.io.workingDirectory, path) };
  }
  const bytes = await readInput(invocation, path, 'corpus');
  const file: CorpusFile = {
    name: path,
    format: corpusFormat(path),
    source: { bytes: bytes.length, read: async (at, length) => bytes.subarray(at, at + length) },
  };
  const prompts: Init<Prompt>[] = [];
  const { size } = await indexCorpusFile(file); // says what cannot be read, and where
  for await (const { text, tokens } of readDocuments(file, { from: START, end: size })) {
    prompts.push(tokens === undefined ? { text } : { tokens: { ids: tokens } });
  }
  if (prompts.length === 0) throw invalidArgument(`${path} is empty`, { field: 'corpus' });
  return { prompts };
}

/** Not found is for whoever reads it to say. */
function staysInPlace(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return false;
  return found.isDirectory() || path.endsWith('.parquet') || found.size > INLINE_BYTES_MAX;
}
