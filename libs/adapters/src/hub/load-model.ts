import { createHash } from 'node:crypto';
import { failedPrecondition, invalidArgument, notFound } from '@heddle/core';
import {
  parseSafetensorsHeader,
  type SafetensorsHeader,
  safetensorsHeaderBytes,
} from '@heddle/formats';
import {
  bindWeights,
  checkShardIndex,
  JSON_CHARS_MAX,
  type ModelConfig,
  readModelConfig,
  readShardIndex,
  type StoredWeight,
} from '@heddle/models';
import type { LoadedModel, ModelFolder } from '@heddle/ports';
import { scanWeights } from './scan-weights.ts';

const SINGLE = 'model.safetensors';
const INDEX = 'model.safetensors.index.json';
/** Names under which an unembedding may be stored. */
const STORED_HEADS = ['lm_head.weight', 'embed_out.weight'];

/** config.json alone: sizes, hook points, what its tokens may be; no weight is looked at. Errors: as `loadModel`. */
export async function loadConfig(folder: ModelFolder): Promise<ModelConfig> {
  const text = await readRequired(folder, 'config.json');
  return readModelConfig('config.json', parseJson('config.json', text)).config;
}

/**
 * *A model from its HuggingFace folder.* Reads all weights once (about a second for 500 MB): their digest, and that every one
 * is finite. Leaves nothing behind when it fails. Errors: one sentence that names file, tensor or field, and what was expected.
 */
export async function loadModel(folder: ModelFolder, signal?: AbortSignal): Promise<LoadedModel> {
  const configText = await readRequired(folder, 'config.json');
  const { config, ignored } = readModelConfig('config.json', parseJson('config.json', configText));
  const headers = await readHeaders(folder);
  const bound = bindWeights(config, headers);
  const heads = config.tiedEmbeddings
    ? STORED_HEADS.filter((name) => bound.ignored.includes(name))
    : [];
  const embedding = bound.weights.get('W_E')?.name ?? '';
  const scan = await scanWeights(folder, headers, bound.weights, {
    digestOf: new Set(heads.length > 0 ? [...heads, embedding] : []),
    ...(signal ? { signal } : {}),
  });
  refuseContradiction(heads, embedding, scan.tensorDigests);
  const digest = createHash('sha256').update(configText);
  for (const { file } of headers) digest.update(`\n${file} ${scan.fileDigests.get(file)}`);
  return {
    config,
    path: folder.path,
    digest: digest.digest('hex'),
    ignoredFields: ignored,
    ignoredTensors: bound.ignored.filter((name) => !heads.includes(name)),
    hasTokenizer: folder.files.includes('tokenizer.json'),
    ...(await locate(folder, headers, bound.weights)),
  };
}

/** Weights by the real names of their files, as the engine opens them. */
async function locate(
  folder: ModelFolder,
  headers: readonly SafetensorsHeader[],
  bound: ReadonlyMap<string, StoredWeight>,
): Promise<Pick<LoadedModel, 'weights' | 'weightsDirectory' | 'weightBytes' | 'fileNames'>> {
  const { directory, names } = await realFiles(folder, headers);
  const weights = new Map<string, StoredWeight>();
  const fileNames = new Map<string, string>();
  let weightBytes = 0;
  for (const [role, weight] of bound) {
    const file = names.get(weight.location.file) as string;
    fileNames.set(file, weight.location.file);
    weightBytes += weight.location.length;
    weights.set(role, { ...weight, location: { ...weight.location, file } });
  }
  return { weights, weightsDirectory: directory, weightBytes, fileNames };
}

async function readRequired(folder: ModelFolder, name: string): Promise<string> {
  if (folder.files.includes(name)) return folder.readText(name, JSON_CHARS_MAX);
  throw notFound(`${folder.path}: no ${name}; a HuggingFace model folder expected`, {
    field: 'model',
    details: { file: name },
  });
}

function parseJson(file: string, text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw invalidArgument(`${file}: not JSON: ${why}`, {
      field: 'model',
      details: { file },
      cause,
    });
  }
}

/** One file, or the shards of an index; each header by itself, then all against the index. */
async function readHeaders(folder: ModelFolder): Promise<readonly SafetensorsHeader[]> {
  if (folder.files.includes(SINGLE)) return [await readHeader(folder, SINGLE)];
  if (!folder.files.includes(INDEX)) {
    const pickled = folder.files.find((name) => /\.(?:bin|pt|pth|gguf)$/.test(name));
    const hint = pickled === undefined ? '' : `; ${pickled} is not read, save it as safetensors`;
    throw notFound(`${folder.path}: neither ${SINGLE} nor ${INDEX}${hint}`, { field: 'model' });
  }
  const index = parseJson(INDEX, await folder.readText(INDEX, JSON_CHARS_MAX));
  const headers: SafetensorsHeader[] = [];
  for (const file of readShardIndex(INDEX, index)) {
    if (!folder.files.includes(file)) {
      throw notFound(`${INDEX}: names ${file}, which is not in the folder`, {
        field: 'model',
        details: { file },
      });
    }
    headers.push(await readHeader(folder, file));
  }
  checkShardIndex(INDEX, index, (shard) => headers.find(({ file }) => file === shard)?.tensors);
  return headers;
}

async function readHeader(folder: ModelFolder, name: string): Promise<SafetensorsHeader> {
  const file = await folder.open(name);
  try {
    const first = await file.read(0, Math.min(8, file.bytes));
    const head = await file.read(0, safetensorsHeaderBytes(name, first, file.bytes));
    return parseSafetensorsHeader(name, head, file.bytes);
  } finally {
    await file.close();
  }
}

/**
 * A tied model that also stores its unembedding: harmless when both are equal. When they differ, transformers 4 uses the
 * embedding and transformers 5 the stored one, so nobody can know what was meant.
 */
function refuseContradiction(
  heads: readonly string[],
  embedding: string,
  digests: ReadonlyMap<string, string>,
): void {
  const head = heads.find((name) => digests.get(name) !== digests.get(embedding));
  if (head === undefined) return;
  throw failedPrecondition(
    `config.json: field tie_word_embeddings is true, but ${head} differs from ${embedding}; set it to false, or remove the tensor`,
    { field: 'model', details: { file: 'config.json', tensor: head } },
  );
}

async function realFiles(folder: ModelFolder, headers: readonly SafetensorsHeader[]) {
  const names = new Map<string, string>();
  let directory: string | undefined;
  for (const { file } of headers) {
    const real = await folder.realLocation(file);
    if (directory !== undefined && directory !== real.directory) {
      throw failedPrecondition(`${file}: lies in another folder than the other shards`, {
        field: 'model',
      });
    }
    directory = real.directory;
    names.set(file, real.file);
  }
  return { directory: directory as string, names };
}
