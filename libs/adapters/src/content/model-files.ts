import { invalidArgument, notFound, resourceExhausted } from '@heddle/core';
import { readShardIndex } from '@heddle/models';
import type { ContentFile } from '@heddle/ports';
import { FILES_MAX, SMALL_FILE_BYTES_MAX, WEIGHT_FILE_BYTES_MAX } from './limits.ts';

const SINGLE = 'model.safetensors';
export const INDEX = 'model.safetensors.index.json';

/** What Heddle or its tokenizer reads. No code, no pickles, no templates: a model from elsewhere brings numbers and words only. */
const SMALL: ReadonlySet<string> = new Set([
  'config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'vocab.json',
  'merges.txt',
  INDEX,
]);

const WEIGHTS = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}\.safetensors$/;

export const isWeightFile = (name: string): boolean => WEIGHTS.test(name);
const isModelFile = (name: string): boolean => SMALL.has(name) || isWeightFile(name);

/**
 * Which of a folder's files make the model: its config, its tokenizer, and one file of weights or the shards that the index names.
 * Errors: `not_found` when there is no config or there are no weights as safetensors.
 */
export async function chooseFiles(
  where: string,
  names: readonly string[],
  readIndex: () => Promise<string>,
): Promise<readonly string[]> {
  const there = new Set(names);
  const missing = (what: string) => notFound(`${where}: ${what}`, { field: 'source' });
  if (!there.has('config.json')) throw missing('no config.json; a HuggingFace model expected');
  const small = names.filter((name) => SMALL.has(name) && name !== INDEX);
  if (there.has(SINGLE)) return [...small, SINGLE].sort();
  if (!there.has(INDEX)) {
    const pickled = names.find((name) => /\.(?:bin|pt|pth|gguf|h5)$/.test(name));
    const hint = pickled === undefined ? '' : `; ${pickled} is not read, save it as safetensors`;
    throw missing(`neither ${SINGLE} nor ${INDEX}${hint}`);
  }
  const shards = readShardIndex(INDEX, parseIndex(await readIndex()));
  const lost = shards.find((shard) => !there.has(shard));
  if (lost !== undefined) throw missing(`${INDEX} names ${lost}, which is not there`);
  return [...small, INDEX, ...shards].sort();
}

function parseIndex(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw invalidArgument(`${INDEX}: not JSON`, { field: 'source', cause });
  }
}

/** Errors: `invalid_argument` or `resource_exhausted` for what no model of ours consists of. */
export function checkFiles(files: readonly Pick<ContentFile, 'name' | 'bytes'>[]): void {
  if (files.length === 0 || files.length > FILES_MAX) {
    throw invalidArgument(`${files.length} files; a model has 1 to ${FILES_MAX}`, {
      field: 'files',
      details: { limit: FILES_MAX },
    });
  }
  const seen = new Set<string>();
  for (const { name, bytes } of files) {
    const shown = JSON.stringify(name.slice(0, 100));
    if (!isModelFile(name)) {
      throw invalidArgument(
        `${shown} is no file of a model: config.json, tokenizer files and .safetensors are taken`,
        { field: 'files' },
      );
    }
    if (seen.has(name)) throw invalidArgument(`${shown} is there twice`, { field: 'files' });
    seen.add(name);
    const limit = isWeightFile(name) ? WEIGHT_FILE_BYTES_MAX : SMALL_FILE_BYTES_MAX;
    if (Number.isSafeInteger(bytes) && bytes >= 0 && bytes <= limit) continue;
    throw resourceExhausted(`${name}: ${bytes} bytes; at most ${limit}`, {
      field: 'files',
      retryable: false,
      details: { bytes, limit },
    });
  }
}
