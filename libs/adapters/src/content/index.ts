export { ContentCache, type ContentCacheOptions, type HeldContent } from './content-cache.ts';
export { contentHub } from './content-hub.ts';
export { isContent, listDigest, readList } from './content-list.ts';
export { CONTENT_METRICS } from './metrics.ts';
export { ModelContents, type ModelContentsDeps } from './model-contents.ts';
export { checkFiles, chooseFiles, INDEX } from './model-files.ts';
export { PartialFiles } from './partial-files.ts';
export { Prefetcher, type PrefetcherDeps, type WantedModel } from './prefetcher.ts';
