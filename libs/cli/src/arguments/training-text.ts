import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { invalidArgument } from '@heddle/core';
import { readJsonl } from '@heddle/formats';
import type { Init } from '@heddle/ports';
import type { TrainingData } from '@heddle/ports/proto/lorsa';
import type { Invocation } from '../invocation.ts';
import { readText } from './files.ts';
import { promptFrom } from './prompts.ts';

/** Text that travels with the request; more stays in its file, which the server reads. A job's journal keeps 512 KiB of JSON. */
const INLINE_BYTES_MAX = 200_000;

/**
 * `--corpus PATH`: a folder, a parquet file or a large text stays where it is; the prompts of a small one, jsonl lines or
 * paragraphs, travel with the request.
 */
export async function readTrainingText(
  invocation: Invocation,
  path: string,
): Promise<Init<TrainingData>> {
  if (path !== '-' && staysInPlace(resolve(invocation.io.workingDirectory, path))) {
    return { corpus: resolve(invocation.io.workingDirectory, path) };
  }
  const text = await readText(invocation, path, 'corpus');
  if (text.trim() === '') throw invalidArgument(`${path} is empty`, { field: 'corpus' });
  if (!path.endsWith('.jsonl')) {
    const paragraphs = text.split(/\n\s*\n/).filter((paragraph) => paragraph.trim() !== '');
    return { prompts: paragraphs.map((paragraph) => ({ text: paragraph })) };
  }
  const prompts = readJsonl(path, text).map(({ line, value }) => {
    const prompt = promptFrom(value);
    if (prompt !== undefined) return prompt;
    throw invalidArgument(`${path}:${line}: expected {"text"} or {"tokens"}`, { field: 'corpus' });
  });
  return { prompts };
}

/** Not found is for whoever reads it to say. */
function staysInPlace(path: string): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found === undefined) return false;
  return found.isDirectory() || path.endsWith('.parquet') || found.size > INLINE_BYTES_MAX;
}
