import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const GOLDEN = join(import.meta.dirname, '../../golden/models');
const INDEX = 'model.safetensors.index.json';

/** An undamaged model folder in memory, with a tokenizer of the same vocabulary or a larger one. */
export interface BaseFolder {
  readonly name: string;
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** A copy that owns its memory: `slice` of a Buffer is a view, and mutants would write into their base. */
const read = (...path: string[]): Uint8Array => new Uint8Array(readFileSync(join(GOLDEN, ...path)));

const TOKENIZERS = ['gpt2', 'llama2', 'llama3'].map((name) =>
  read('tokenizers', name, 'tokenizer.json'),
);

/** The tiny models of the parity test, all families: small enough that two thousand mutants take a minute. */
export const BASE_FOLDERS: readonly BaseFolder[] = readdirSync(GOLDEN, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'tokenizers')
  .map(({ name }) => name)
  .sort()
  .map((name, i) => {
    const files = new Map<string, Uint8Array>();
    for (const file of readdirSync(join(GOLDEN, name)).sort()) {
      if (file !== 'values.safetensors') files.set(file, read(name, file));
    }
    files.set('tokenizer.json', TOKENIZERS[i % TOKENIZERS.length] as Uint8Array);
    files.set('tokenizer_config.json', new TextEncoder().encode('{"bos_token":"<s>"}'));
    return { name, files };
  });

export const SHARDED: readonly BaseFolder[] = BASE_FOLDERS.filter(({ files }) => files.has(INDEX));

const TABLE = JSON.parse(readFileSync(join(GOLDEN, 'fields.json'), 'utf8')) as {
  readonly families: Readonly<Record<string, { readonly fields: object }>>;
};

/** Fields that transformers knows per config class: what a mutant may add to a config.json. */
export const KNOWN_FIELDS: readonly string[] = [
  ...new Set(Object.values(TABLE.families).flatMap(({ fields }) => Object.keys(fields))),
].sort();
