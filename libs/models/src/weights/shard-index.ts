import { invalidArgument, type OperationError } from '@heddle/core';
import { SHARDS_MAX } from '../limits.ts';

/**
 * *The files of a sharded checkpoint*, from `model.safetensors.index.json`, sorted. A name is a plain file name of the same
 * folder: separators, `..` and empty names are refused, so that an index cannot point elsewhere.
 * Errors: `invalid_argument` with file and reason.
 */
export function readShardIndex(file: string, json: unknown): readonly string[] {
  const map = isObject(json) ? json['weight_map'] : undefined;
  if (!isObject(map)) throw wrong(file, 'weight_map is not an object');
  const files = new Set<string>();
  for (const [tensor, name] of Object.entries(map)) {
    if (typeof name !== 'string') throw wrong(file, `weight_map ${tensor} is not a file name`);
    if (!/^[^/\\\0:]+\.safetensors$/.test(name) || name.startsWith('.')) {
      throw wrong(
        file,
        `weight_map ${tensor} names ${JSON.stringify(name)}; a .safetensors file of the same folder expected`,
      );
    }
    files.add(name);
    if (files.size > SHARDS_MAX) throw wrong(file, `names more than ${SHARDS_MAX} files`);
  }
  if (files.size === 0) throw wrong(file, 'weight_map is empty');
  return [...files].sort();
}

/** Every tensor must be in the file that the index says; returns the first that is not. */
export function checkShardIndex(
  file: string,
  json: unknown,
  tensorsOf: (shard: string) => ReadonlyMap<string, unknown> | undefined,
): void {
  const map = (json as { weight_map: Record<string, string> }).weight_map;
  for (const [tensor, shard] of Object.entries(map)) {
    if (!tensorsOf(shard)?.has(tensor)) {
      throw wrong(
        file,
        `says that tensor ${JSON.stringify(tensor)} is in ${shard}, which lacks it`,
      );
    }
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function wrong(file: string, why: string): OperationError {
  return invalidArgument(`${file}: ${why}`, { field: 'model', details: { file } });
}
