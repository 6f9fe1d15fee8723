import { dataLoss, OperationError } from '@heddle/core';
import type { Hub, LoadedModel, ModelFolder, ModelStore, WeightReader } from '@heddle/ports';
import type { ModelInfo } from '@heddle/ports/proto/activation';

/** What reads weights from disk. */
export type WeightStore = Pick<ModelStore, 'load' | 'openWeights'>;

type Described = Pick<ModelInfo, 'content' | 'path' | 'digest' | 'name'>;

/** What the hub opens for a model: its content wherever one is; a folder only where it lies. */
export const hostReference = ({ content, path }: Pick<Described, 'content' | 'path'>): string =>
  content || path;

export interface OpenHost {
  readonly model: LoadedModel;
  readonly reader: WeightReader;
  readonly folder: ModelFolder;
}

/**
 * Opens a model's weights for as long as `body` reads them. What is not what was described has rotted in this machine's cache: every
 * byte there is looked at, and what is damaged fetched, once. Errors: those of the hub; `data_loss` when the weights are others still.
 */
export async function withHostModel<T>(
  { hub, store }: { readonly hub: Hub; readonly store: WeightStore },
  info: Described,
  body: (host: OpenHost) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const options = signal === undefined ? {} : { signal };
  for (let verify = false; ; verify = true) {
    const folder = await hub.open(hostReference(info), { ...options, verify });
    try {
      const model = await loadDescribed(store, folder, info).catch((thrown: unknown) => {
        if (info.content === '' || verify || OperationError.from(thrown).retryable) throw thrown;
      });
      if (model === undefined) continue;
      const reader = store.openWeights(folder, model);
      try {
        return await body({ model, reader, folder });
      } finally {
        await reader.close();
      }
    } finally {
      folder.release?.();
    }
  }
}

async function loadDescribed(
  store: WeightStore,
  folder: ModelFolder,
  { name, digest }: Described,
): Promise<LoadedModel> {
  const model = await store.load(folder);
  if (digest === '' || bare(digest) === bare(model.digest)) return model;
  throw dataLoss(`model ${name}: the weights in ${folder.path} are not those that were described`, {
    field: 'model',
  });
}

const bare = (digest: string): string => digest.replace(/^sha256:/, '');
