import type { JobKind, JobRuntime } from '@heddle/actor';
import type {
  Blobs,
  Callers,
  Clock,
  Engine,
  Events,
  Hub,
  Journal,
  Log,
  Metrics,
  ModelFolder,
  ModelImports,
  ModelStore,
  Service,
  Tokenizer,
  Tracing,
} from '@heddle/ports';
import { cacheHandlers } from './cache/cache-handlers.ts';
import { cacheKind } from './cache/cache-job.ts';
import { Corpora } from './cache/corpora.ts';
import { CACHE_SIZES, type CacheSizes } from './cache/estimate-cache.ts';
import { activationHandlers } from './handlers.ts';
import { importHandlers, inPlace } from './import/import-handlers.ts';
import { importKind } from './import/import-job.ts';
import { Uploads } from './import/uploads.ts';
import { TEXT_AT_ONCE_BYTES, TEXT_SLICE_MS, TEXT_WAITING_MS_MAX } from './limits.ts';
import { ACTIVATION_METRICS } from './metrics.ts';
import { ModelNames } from './model-names.ts';
import { ModelRegistry } from './model-registry.ts';
import { RunService } from './run-service.ts';
import { TextTurns } from './text-turns.ts';

export { ACTIVATION_METRICS } from './metrics.ts';
export { ModelNames, NAMES_ANNOUNCED, type NamedModel } from './model-names.ts';

/** How models get to every replica. */
export interface Distribution {
  readonly imports: ModelImports;
  /** Changes of the names are announced there. */
  readonly events: Pick<Events, 'publish'>;
  /** Other replicas share journal and blobs: a folder that this one sees is brought to them. */
  readonly shared: boolean;
}

export interface ActivationDeps {
  readonly engine: Engine;
  readonly hub: Hub;
  readonly store: Omit<ModelStore, 'openWeights'>;
  readonly openTokenizer: (folder: ModelFolder) => Promise<Tokenizer | undefined>;
  /** Names of imported models are the stream `activation.models`. */
  readonly journal: Journal;
  /** Shards of activations, and the prompts that a request brought. */
  readonly blobs: Blobs;
  readonly jobs: Pick<
    JobRuntime,
    'submit' | 'list' | 'touch' | 'resume' | 'pin' | 'unpin' | 'wait'
  >;
  /** Left out: models are folders used in place. */
  readonly distribution?: Distribution;
  readonly clock: Clock;
  /** Who asks: callers share the engine. Absent, all are one. */
  readonly callers?: Callers;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Absent: runs leave no spans. */
  readonly tracing?: Tracing | undefined;
  /** Folder of the bundled model. */
  readonly bundledModel: string;
  readonly versions: Readonly<Record<string, string>>;
  /** Left out: what `limits.ts` says. */
  readonly cacheSizes?: CacheSizes;
}

/** Models and the values inside them, over gRPC: `heddle.activation.v1`. */
export async function createService(deps: ActivationDeps): Promise<Service<JobKind>> {
  const { hub, store, openTokenizer, bundledModel, clock, metrics, log, engine, versions } = deps;
  metrics.register(ACTIVATION_METRICS);
  const registry = new ModelRegistry({
    hub,
    store,
    openTokenizer,
    bundledModel,
    clock,
    names: new ModelNames(deps.journal),
    onLoad: ({ config, path, digest }, seconds) => {
      metrics.observe('activation_model_load_seconds', seconds, { family: config.family });
      log.info('model read', { family: config.family, path, digest, seconds });
    },
  });
  const runs = new RunService({ engine, store, metrics, clock, tracing: deps.tracing });
  const turns = new TextTurns(clock, {
    waitMsMax: TEXT_WAITING_MS_MAX,
    atOnceBytes: TEXT_AT_ONCE_BYTES,
    sliceMs: TEXT_SLICE_MS,
  });
  const { blobs, jobs, distribution } = deps;
  const uploads = new Uploads(deps.journal, clock);
  const corpora = new Corpora({ hub, blobs, shared: distribution?.shared ?? false });
  const sizes = deps.cacheSizes ?? CACHE_SIZES;
  return {
    name: 'activation-server',
    handlers: {
      activation: {
        ...activationHandlers({
          registry,
          runs,
          turns,
          callers: deps.callers,
          engine,
          metrics,
          clock,
          versions,
        }),
        ...cacheHandlers({ registry, corpora, hub, blobs, jobs, metrics, sizes }),
        ...(distribution
          ? importHandlers({ registry, jobs, uploads, ...distribution })
          : inPlace(registry)),
      },
    },
    jobKinds: [
      cacheKind({ registry, runs, corpora, hub, engine, metrics, versions, sizes }),
      ...(distribution ? [importKind({ registry, jobs, ...distribution })] : []),
    ],
    metrics: ACTIVATION_METRICS,
    close: async () => {}, // the engine belongs to whoever started it
  };
}
