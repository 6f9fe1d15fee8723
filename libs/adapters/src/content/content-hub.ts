import { OperationError } from '@heddle/core';
import type { Hub, ModelFolder } from '@heddle/ports';
import { openModelFolder } from '../fs/model-folder.ts';
import type { ContentCache } from './content-cache.ts';
import { isContent } from './content-list.ts';

export interface ContentHubOptions {
  /** What is no content. */
  readonly folders: Hub;
  readonly cache: ContentCache;
  /** Other replicas answer the same callers: a folder that one of them sees is no model of all. */
  readonly shared: boolean;
}

/** *Models wherever they are asked for*: `content:…` by way of the cache, folders where they lie. */
export function contentHub({ folders, cache, shared }: ContentHubOptions): Hub {
  return {
    async open(reference, options) {
      if (isContent(reference)) return openHeld(cache, reference, options);
      if (!shared) return folders.open(reference, options);
      return folders.open(reference, options).catch((thrown: unknown) => {
        const error = OperationError.from(thrown);
        const unseen = error.code === 'not_found' || error.code === 'permission_denied';
        if (!unseen || reference.startsWith('hf:')) throw error;
        throw new OperationError({
          code: error.code,
          message: `${error.message}, as this server sees it; \`heddle model add ${reference}\` brings a folder of yours to all of them`,
          field: error.field ?? 'model',
        });
      });
    },
  };
}

/** The folder's path is the reference: a path of this machine would mean nothing to whoever it is told to. */
async function openHeld(
  cache: ContentCache,
  reference: string,
  options: Parameters<Hub['open']>[1],
): Promise<ModelFolder> {
  const { path, files, release } = await cache.hold(reference, options);
  try {
    const folder = await openModelFolder(path);
    const names = files.map(({ name }) => name).sort();
    return { ...folder, path: reference, files: names, folders: [], release };
  } catch (thrown) {
    release();
    throw thrown;
  }
}
