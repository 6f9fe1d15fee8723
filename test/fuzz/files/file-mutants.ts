import { Rng } from '@heddle/core';
import { BASE_FOLDERS, type BaseFolder, KNOWN_FIELDS, SHARDED } from './base-folders.ts';
import { entry, type JsonTree, textOf, treeOf } from './json-tree.ts';
import { mutateBytes } from './mutate-bytes.ts';
import { hostileValue, mutateTree, short } from './mutate-json.ts';
import { mutateSafetensors } from './mutate-safetensors.ts';

export interface FileMutant {
  /** What was done to which file, for people. */
  readonly what: string;
  readonly base: string;
  /** Files of the folder; where `special` is set, that file is something else than a regular one. */
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly special?: { readonly file: string; readonly kind: SpecialFile };
  /** Whether what the model computes can have changed, so that it must be compared. */
  readonly computes: boolean;
  /** Every JSON file parses and every safetensors header can be read: the damage is in what they say. */
  readonly decodable: boolean;
}

export type SpecialFile = 'link' | 'folder' | 'fifo' | 'missing' | 'sparse';

/** Mutant `number` of a seed: always the same one, whatever ran before it. */
export function fileMutant(seed: number, number: number): FileMutant {
  const rng = new Rng(seed * 1_000_003 + number);
  const dice = rng.below(100);
  const kind = KINDS.find(({ upTo }) => dice < upTo);
  const base = kind?.name === 'index' ? rng.pick(SHARDED) : rng.pick(BASE_FOLDERS);
  const files = new Map(base.files);
  const { file, what, special } = (kind as Kind).mutate(rng, base, files);
  return {
    base: base.name,
    what: `${base.name}/${file}: ${what}`,
    files,
    ...(special === undefined ? {} : { special: { file, kind: special } }),
    computes: !file.startsWith('tokenizer'),
    decodable: [...files].every(([name, bytes]) => decodes(name, bytes)),
  };
}

interface Made {
  readonly file: string;
  readonly what: string;
  readonly special?: SpecialFile;
}

interface Kind {
  readonly name: string;
  readonly upTo: number;
  readonly mutate: (rng: Rng, base: BaseFolder, files: Map<string, Uint8Array>) => Made;
}

const KINDS: readonly Kind[] = [
  { name: 'safetensors', upTo: 42, mutate: inWeights },
  { name: 'config', upTo: 68, mutate: inConfig },
  { name: 'tokenizer', upTo: 84, mutate: inTokenizer },
  { name: 'index', upTo: 89, mutate: inJson('model.safetensors.index.json') },
  { name: 'bytes', upTo: 97, mutate: inBytes },
  { name: 'folder', upTo: 100, mutate: inFolder },
];

const decode = (bytes: Uint8Array): unknown => JSON.parse(new TextDecoder().decode(bytes));
const encode = (tree: JsonTree): Uint8Array => new TextEncoder().encode(textOf(tree));

function weightFiles(base: BaseFolder): string[] {
  return [...base.files.keys()].filter((name) => name.endsWith('.safetensors'));
}

function inWeights(rng: Rng, base: BaseFolder, files: Map<string, Uint8Array>): Made {
  const file = rng.pick(weightFiles(base));
  const [bytes, what] = mutateSafetensors(rng, files.get(file) as Uint8Array);
  files.set(file, bytes);
  return { file, what };
}

function inJson(file: string) {
  return (rng: Rng, _base: BaseFolder, files: Map<string, Uint8Array>): Made => {
    const tree = treeOf(decode(files.get(file) as Uint8Array));
    const done = Array.from({ length: 1 + rng.below(2) }, () => mutateTree(rng, tree));
    files.set(file, encode(tree));
    return { file, what: done.join('; ') };
  };
}

function inConfig(rng: Rng, base: BaseFolder, files: Map<string, Uint8Array>): Made {
  if (rng.below(3) > 0) return inJson('config.json')(rng, base, files);
  const tree = treeOf(decode(files.get('config.json') as Uint8Array));
  const field = rng.pick(KNOWN_FIELDS);
  const value = hostileValue(rng);
  if (tree.kind === 'object') {
    tree.entries = tree.entries.filter(([name]) => name !== field);
    tree.entries.push([field, value]);
  }
  files.set('config.json', encode(tree));
  return { file: 'config.json', what: `field ${field} is ${short(textOf(value))}` };
}

/** Regular expressions of tokenizer.json, besides whatever a blind change of the tree hits. */
function inTokenizer(rng: Rng, base: BaseFolder, files: Map<string, Uint8Array>): Made {
  if (rng.below(8) === 0) return inJson('tokenizer_config.json')(rng, base, files);
  if (rng.below(4) > 0) return inJson('tokenizer.json')(rng, base, files);
  const tree = treeOf(decode(files.get('tokenizer.json') as Uint8Array));
  const part = entry(tree, rng.pick(['model', 'pre_tokenizer', 'post_processor', 'decoder']));
  const what = part === undefined ? mutateTree(rng, tree) : mutateTree(rng, part);
  files.set('tokenizer.json', encode(tree));
  return { file: 'tokenizer.json', what };
}

function inBytes(rng: Rng, base: BaseFolder, files: Map<string, Uint8Array>): Made {
  const file = rng.pick([...base.files.keys()]);
  const [bytes, what] = mutateBytes(rng, files.get(file) as Uint8Array);
  files.set(file, bytes);
  return { file, what };
}

function inFolder(rng: Rng, base: BaseFolder): Made {
  const file = rng.pick([...base.files.keys()]);
  const kinds: SpecialFile[] = ['link', 'folder', 'fifo', 'missing', 'sparse'];
  const special = rng.pick(kinds);
  return { file, what: `is a ${special} file`, special };
}

function decodes(name: string, bytes: Uint8Array): boolean {
  try {
    if (name.endsWith('.json')) return decode(bytes) !== undefined;
    const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.length).getBigUint64(0, true);
    if (length > BigInt(bytes.length - 8)) return false;
    return decode(bytes.subarray(8, 8 + Number(length))) !== undefined;
  } catch {
    return false;
  }
}
