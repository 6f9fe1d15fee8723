import { dataLoss, type Json } from '@heddle/core';

type Digest = `sha256:${string}`;

/** The name of a shard's tokens among its blobs; no hook point has it. */
export const TOKENS_BLOB = 'tokens';

export interface ActivationHook {
  readonly name: string;
  /** Of one token: without batch and pos. */
  readonly axes: readonly string[];
  readonly shape: readonly number[];
}

export interface ActivationCounts {
  readonly sequences: number;
  /** Without padding. */
  readonly tokens: number;
  /** Those that count in losses: no special tokens. */
  readonly valid: number;
  readonly documents: number;
}

/** Some sequences, padded to the longest of them; all of them held out, or none. */
export interface ActivationShard extends ActivationCounts {
  readonly held_out: boolean;
  readonly pos: number;
  readonly bytes: number;
  /** By hook, and `tokens`. */
  readonly blobs: Readonly<Record<string, Digest>>;
}

/** *Activations of a model over a corpus*, as blobs: what they are of, and where they are. */
export interface ActivationManifest {
  readonly format: 'heddle.activations';
  readonly version: 1;
  readonly model: string;
  readonly model_digest: string;
  /** Its path, or `prompts`. */
  readonly corpus: string;
  readonly corpus_digest: string;
  /** Empty for a model without a tokenizer. */
  readonly tokenizer_digest: string;
  /** Tokens of a sequence at most. */
  readonly context: number;
  /** 0: all of the corpus. */
  readonly tokens_max: number;
  readonly dtype: 'f32' | 'f16';
  readonly hooks: readonly ActivationHook[];
  /** Training shards, then held-out ones, each in the order of the corpus. */
  readonly shards: readonly ActivationShard[];
  readonly train: ActivationCounts;
  readonly held_out: ActivationCounts;
  readonly bytes: number;
}

/** Sums over shards. */
export function countShards(shards: readonly ActivationShard[]): ActivationCounts {
  const sum = (count: keyof ActivationCounts): number =>
    shards.reduce((total, shard) => total + shard[count], 0);
  return {
    sequences: sum('sequences'),
    tokens: sum('tokens'),
    valid: sum('valid'),
    documents: sum('documents'),
  };
}

/** Blobs of all shards at some of the hooks (all when left out), tokens among them: what a user of them must keep. */
export function shardBlobs(
  { shards }: Pick<ActivationManifest, 'shards'>,
  hooks?: readonly string[],
): readonly Digest[] {
  const wanted = hooks && new Set([TOKENS_BLOB, ...hooks]);
  const blobs = shards.flatMap((shard) =>
    Object.entries(shard.blobs).flatMap(([name, digest]) =>
      wanted === undefined || wanted.has(name) ? [digest] : [],
    ),
  );
  return [...new Set(blobs)];
}

export function writeActivationManifest(manifest: ActivationManifest): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(manifest));
}

/** Errors: `data_loss` saying what is wrong; also for a version that is newer than this reader. */
export function readActivationManifest(bytes: Uint8Array): ActivationManifest {
  const value = parse(bytes);
  const { format, version } = value as Partial<ActivationManifest>;
  if (format !== 'heddle.activations') throw wrong(`its format is ${JSON.stringify(format)}`);
  if (version !== 1) throw wrong(`version ${JSON.stringify(version)}; this reader knows 1`);
  for (const name of ['model', 'model_digest', 'corpus', 'corpus_digest', 'tokenizer_digest']) {
    if (typeof value[name] !== 'string') throw wrong(`${name} is no text`);
  }
  for (const name of ['context', 'tokens_max', 'bytes']) requireCount(value, name, '');
  if (value['dtype'] !== 'f32' && value['dtype'] !== 'f16')
    throw wrong('dtype is none of f32, f16');
  const hooks = list(value, 'hooks').map((hook, i) => checkHook(record(hook, `hooks[${i}]`), i));
  list(value, 'shards').forEach((shard, i) => {
    checkShard(record(shard, `shards[${i}]`), `shards[${i}]`, hooks);
  });
  for (const side of ['train', 'held_out']) {
    const counts = record(value[side], side);
    for (const name of COUNTS) requireCount(counts, name, `${side}.`);
  }
  return value as unknown as ActivationManifest; // every field was looked at above
}

type Fields = { readonly [name: string]: Json };
const COUNTS = ['sequences', 'tokens', 'valid', 'documents'] as const;

function checkHook(hook: Fields, i: number): string {
  const { name } = hook;
  if (typeof name !== 'string' || name === TOKENS_BLOB) throw wrong(`hooks[${i}] has no name`);
  const axes = list(hook, 'axes');
  const shape = list(hook, 'shape');
  const whole = shape.every((size) => Number.isSafeInteger(size) && Number(size) > 0);
  if (axes.length !== shape.length || !whole) throw wrong(`${name} has axes without sizes`);
  return name;
}

function checkShard(shard: Fields, at: string, hooks: readonly string[]): void {
  for (const name of [...COUNTS, 'pos', 'bytes']) requireCount(shard, name, `${at}.`);
  if (typeof shard['held_out'] !== 'boolean') throw wrong(`${at}.held_out is no truth value`);
  const blobs = record(shard['blobs'], `${at}.blobs`);
  for (const name of [TOKENS_BLOB, ...hooks]) {
    if (!/^sha256:[0-9a-f]{64}$/.test(String(blobs[name]))) throw wrong(`${at} lacks ${name}`);
  }
}

function requireCount(fields: Fields, name: string, path: string): void {
  const value = fields[name];
  if (!Number.isSafeInteger(value) || Number(value) < 0) throw wrong(`${path}${name} is no count`);
}

function list(fields: Fields, name: string): readonly Json[] {
  const value = fields[name];
  if (!Array.isArray(value)) throw wrong(`${name} is no list`);
  return value as readonly Json[];
}

function record(value: Json | undefined, name: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  throw wrong(`${name} is no object`);
}

function parse(bytes: Uint8Array): Fields {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return record(JSON.parse(text) as Json, 'the document');
  } catch (cause) {
    throw dataLoss('a manifest of activations is not JSON', { cause });
  }
}

const wrong = (why: string) => dataLoss(`a manifest of activations is damaged: ${why}`);
