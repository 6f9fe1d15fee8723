import {
  dataLoss,
  invalidArgument,
  notFound,
  OperationError,
  resourceExhausted,
} from '@heddle/core';
import type { ModelSource, RemoteModels, SourceFile } from '@heddle/ports';
import { downloadFile, type ListFileEntry, listFiles, modelInfo } from '@huggingface/hub';
import { SMALL_FILE_BYTES_MAX } from '../content/limits.ts';
import { chooseFiles, INDEX } from '../content/model-files.ts';
import { type HubFetchOptions, hubFetch } from './hub-fetch.ts';
import { isCommit, parseHubReference } from './hub-reference.ts';
import { ENTRIES_MAX, IDLE_MS } from './limits.ts';

export interface HfModelsOptions {
  /** Default: `https://huggingface.co`. */
  readonly endpoint?: string;
  readonly token?: string;
  /** Milliseconds without a byte, after which a download counts as broken off. */
  readonly idleMs?: number;
}

const ENDPOINT = 'https://huggingface.co';

/** *Models of a HuggingFace hub*, by commit: whatever a branch points to later, a pinned model is the same bytes. */
export function hfModels(options: HfModelsOptions = {}): RemoteModels {
  const endpoint = (options.endpoint || ENDPOINT).replace(/\/+$/, '');
  if (!/^https?:\/\//.test(endpoint)) {
    throw invalidArgument(`HF_ENDPOINT=${endpoint} is no http:// or https:// address`);
  }
  const asking = (what: string, signal?: AbortSignal): HubFetchOptions => ({
    what,
    endpoint,
    token: options.token || undefined,
    signal,
  });
  const list = async (pinned: string, signal?: AbortSignal): Promise<ModelSource> => {
    const files = await listModel(pinned, asking(pinned, signal));
    const byName = new Map(files.map((file) => [file.name, file]));
    const index = async () => textOf(pinned, byName.get(INDEX) as SourceFile, signal);
    const chosen = await chooseFiles(pinned, [...byName.keys()], index);
    return { source: pinned, files: chosen.map((name) => byName.get(name) as SourceFile) };
  };
  const read: RemoteModels['read'] = (pinned, file, offset, signal) =>
    readFrom(pinned, file, { ...asking(pinned, signal), offset }, options.idleMs ?? IDLE_MS);
  const textOf = async (pinned: string, file: SourceFile, signal?: AbortSignal) => {
    if (file.bytes > SMALL_FILE_BYTES_MAX) {
      throw resourceExhausted(`${pinned}: ${file.name} has ${file.bytes} bytes`, {
        retryable: false,
      });
    }
    const chunks: Uint8Array[] = [];
    for await (const chunk of read(pinned, file, 0, signal)) chunks.push(chunk);
    return Buffer.concat(chunks).toString('utf8');
  };
  return {
    pin: async (reference, signal) => pinModel(reference, asking(reference, signal)),
    list,
    read,
  };
}

async function pinModel(reference: string, asking: HubFetchOptions): Promise<string> {
  const { name, revision } = parseHubReference(reference);
  if (isCommit(revision)) return reference;
  const { fetch, error } = hubFetch(asking);
  const hubUrl = asking.endpoint;
  const { sha } = await modelInfo({
    name,
    hubUrl,
    fetch,
    additionalFields: ['sha'],
    ...(revision === undefined ? {} : { revision }),
  }).catch((thrown: unknown) => {
    throw error() ?? noAnswer(asking, thrown);
  });
  if (isCommit(sha)) return `hf:${name}@${sha}`;
  throw noAnswer(asking, new Error(`the revision's commit is ${String(sha)}`));
}

async function listModel(pinned: string, asking: HubFetchOptions): Promise<SourceFile[]> {
  const { name, revision } = parseHubReference(pinned);
  const { fetch, error } = hubFetch(asking);
  const files: SourceFile[] = [];
  const repo = { type: 'model', name } as const;
  const listing = listFiles({
    repo,
    hubUrl: asking.endpoint,
    fetch,
    ...(revision ? { revision } : {}),
  });
  try {
    for await (const entry of listing) {
      if (entry.type === 'file') files.push(sourceFile(pinned, entry));
      if (files.length > ENTRIES_MAX) {
        throw invalidArgument(`${pinned}: more than ${ENTRIES_MAX} files`, { field: 'source' });
      }
    }
  } catch (thrown) {
    if (thrown instanceof OperationError) throw thrown;
    throw error() ?? noAnswer(asking, thrown);
  }
  return files;
}

/** Large files say their SHA-256; the others the name that git gives them, which is a hash of their bytes, too. */
function sourceFile(pinned: string, { path, size, oid, lfs }: ListFileEntry): SourceFile {
  const check = lfs ? `sha256:${lfs.oid}` : `git:${oid ?? ''}`;
  if (!/^(?:sha256:[0-9a-f]{64}|git:[0-9a-f]{40})$/.test(check)) {
    throw dataLoss(
      `${pinned}: the hub says no digest of ${path}, so that nothing would vouch for its bytes`,
    );
  }
  return { name: path, bytes: lfs?.size ?? size, check };
}

/** By plain ranges: what is cut off is gone on with, whatever store the hub keeps the file in. */
async function* readFrom(
  pinned: string,
  file: SourceFile,
  asking: HubFetchOptions,
  idleMs: number,
): AsyncGenerator<Uint8Array> {
  const { name, revision } = parseHubReference(pinned);
  const { offset = 0, signal } = asking;
  const idle = new AbortController();
  const either = signal ? AbortSignal.any([signal, idle.signal]) : idle.signal;
  const { fetch, error } = hubFetch({ ...asking, signal: either });
  try {
    const repo = { type: 'model', name } as const;
    const where = { repo, path: file.name, hubUrl: asking.endpoint, fetch, xet: false };
    const blob = await downloadFile({ ...where, ...(revision ? { revision } : {}) });
    if (blob === null) throw notFound(`${pinned}: no ${file.name}`, { field: 'source' });
    if (blob.size !== file.bytes) {
      throw dataLoss(`${pinned}: ${file.name} has ${blob.size} bytes; ${file.bytes} were listed`);
    }
    yield* watched(blob.slice(offset).stream(), idle, idleMs);
  } catch (thrown) {
    signal?.throwIfAborted();
    if (thrown instanceof OperationError) throw thrown;
    throw error() ?? noAnswer({ ...asking, what: `${pinned} ${file.name}` }, thrown);
  } finally {
    idle.abort(); // whoever stopped reading wants no more bytes
  }
}

/** Ends what brings nothing any more. */
async function* watched(
  stream: ReadableStream<Uint8Array>,
  idle: AbortController,
  idleMs: number,
): AsyncGenerator<Uint8Array> {
  const reader = stream.getReader();
  for (;;) {
    const timer = setTimeout(() => idle.abort(new Error(`no byte for ${idleMs} ms`)), idleMs);
    const { done, value } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    yield value;
  }
}

const noAnswer = ({ what, endpoint }: HubFetchOptions, thrown: unknown) => {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  return new OperationError({
    code: 'unavailable',
    message: `${what}: ${new URL(endpoint).host} broke off or answered something else: ${why}`,
    field: 'source',
    cause: thrown,
  });
};
