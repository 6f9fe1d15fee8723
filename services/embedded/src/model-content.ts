import { join } from 'node:path';
import { ModelNames, NAMES_ANNOUNCED } from '@heddle/activation-server/model-names';
import { Uploads } from '@heddle/activation-server/uploads';
import {
  CONTENT_METRICS,
  ContentCache,
  contentHub,
  ModelContents,
  PartialFiles,
  Prefetcher,
  readList,
  type WantedModel,
} from '@heddle/adapters/content';
import type { DirectoryBlobs } from '@heddle/adapters/fs';
import { OperationError } from '@heddle/core';
import type {
  BlobDigest,
  Blobs,
  Clock,
  Hub,
  Log,
  Metrics,
  ModelImports,
  RemoteModels,
} from '@heddle/ports';
import type { ModelsConfig } from './model-config.ts';
import type { Stores } from './stores.ts';

export interface ModelContentDeps extends Pick<Stores, 'journal' | 'events' | 'blobs'> {
  readonly dataDirectory: string;
  readonly config: ModelsConfig;
  /** Journal and blobs are those of a cluster. */
  readonly shared: boolean;
  /** Models that lie in folders of this machine. */
  readonly folders: Hub;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
}

/** Models of the blob store, as this process sees them. */
export interface ModelContent {
  readonly hub: Hub;
  readonly imports: ModelImports;
  /** Blobs of the named models and of uploads under way, which `gc` must leave; the same in every process, because it is read from the journal. */
  roots(): Promise<readonly BlobDigest[]>;
  /** Brings the named models here; resolves when they are, when `signal` fires, or after the configured bound. */
  prefetch(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export async function openModelContent(deps: ModelContentDeps): Promise<ModelContent> {
  const { dataDirectory, config, shared, folders, journal, events, blobs, clock, log, metrics } =
    deps;
  metrics.register(CONTENT_METRICS);
  const bytesMax = config.cacheBytesMax;
  const link = linkOf(blobs, shared);
  const cache = await ContentCache.open({
    directory: config.cacheDirectory ?? join(dataDirectory, 'models'),
    ...{ blobs, bytesMax, clock, log, metrics, ...(link ? { link } : {}) },
  });
  const partials = await PartialFiles.open(join(dataDirectory, 'partial'), bytesMax);
  const names = new ModelNames(journal);
  const uploads = new Uploads(journal, clock);
  const named = async (): Promise<readonly WantedModel[]> =>
    [...(await names.all()).values()].flatMap(({ name, importedMs, import: imported }) =>
      imported ? [{ name, importedMs, content: imported.content }] : [],
    );
  const closed = new AbortController();
  const tidying = tidyOnRemoval({ cache, named, events, log }, closed.signal);
  const prefetcher = new Prefetcher({
    ...{ cache, named, events, announced: NAMES_ANNOUNCED, bytesMax, clock, log, metrics },
  });
  const wanted = shared && config.prefetch;
  return {
    hub: contentHub({ folders, cache, shared }),
    imports: new ModelContents({
      blobs,
      partials,
      folders,
      remote: lazyHub(config),
      clock,
      bytesMax,
    }),
    roots: async () => [...(await rootsOf(blobs, await named(), log)), ...(await uploads.live())],
    prefetch: async (signal) => {
      if (!wanted) return;
      await Promise.race([prefetcher.start(config.prefetchMs), aborted(signal)]);
    },
    close: async () => {
      closed.abort();
      await prefetcher.close();
      await cache.close();
      await tidying;
    },
  };
}

/** Only a folder of this process's own: what replicas share must not be damaged by what happens to one's cache. */
function linkOf(blobs: Blobs, shared: boolean) {
  if (shared || !('linkTo' in blobs)) return undefined;
  const directory = blobs as DirectoryBlobs;
  return (digest: BlobDigest, path: string) => directory.linkTo(digest, path);
}

/** The hub's client is loaded when something is downloaded. */
function lazyHub({ hubEndpoint, hubToken }: ModelsConfig): RemoteModels {
  let loaded: Promise<RemoteModels> | undefined;
  const hub = () => {
    loaded ??= import('@heddle/adapters/hf').then(({ hfModels }) =>
      hfModels({
        ...(hubEndpoint === undefined ? {} : { endpoint: hubEndpoint }),
        ...(hubToken === undefined ? {} : { token: hubToken }),
      }),
    );
    return loaded;
  };
  return {
    pin: async (...asked) => (await hub()).pin(...asked),
    list: async (...asked) => (await hub()).list(...asked),
    async *read(...asked) {
      yield* (await hub()).read(...asked);
    },
  };
}

/** Errors: those of the store, so that nothing is collected while it cannot say what a model consists of. */
async function rootsOf(
  blobs: Blobs,
  named: readonly WantedModel[],
  log: Log,
): Promise<readonly BlobDigest[]> {
  const roots = new Set<BlobDigest>();
  for (const { name, content } of named) {
    roots.add(content.slice('content:'.length) as BlobDigest);
    try {
      for (const { digest } of await readList(blobs, content)) roots.add(digest);
    } catch (thrown) {
      if (OperationError.from(thrown).code !== 'not_found') throw thrown;
      log.warn('a model is lost: the blob store has no list of its files', {
        model: name,
        content,
      });
    }
  }
  return [...roots];
}

/** After a name is gone, nothing else would say that its files may go. */
async function tidyOnRemoval(
  {
    cache,
    named,
    events,
    log,
  }: {
    readonly cache: ContentCache;
    readonly named: () => Promise<readonly WantedModel[]>;
  } & Pick<ModelContentDeps, 'events' | 'log'>,
  signal: AbortSignal,
): Promise<void> {
  try {
    for await (const { event } of events.subscribe(NAMES_ANNOUNCED, signal)) {
      if ((event as { type?: unknown } | undefined)?.type !== 'removed') continue;
      await cache.keepOnly(new Set((await named()).map(({ content }) => content)));
    }
  } catch (cause) {
    if (!signal.aborted) log.warn('removals of models are not heard', { cause });
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
