import type { JobKind, JobRuntime } from '@heddle/actor';
import type {
  Blobs,
  Callers,
  Clock,
  Engine,
  Hub,
  Journal,
  Log,
  Metrics,
  ModelFolder,
  ModelStore,
  Service,
  Tokenizer,
} from '@heddle/ports';
import { cacheHandlers } from './cache/cache-handlers.ts';
import { cacheKind } from './cache/cache-job.ts';
import { Corpora } from './cache/corpora.ts';
import { CACHE_SIZES, type CacheSizes } from './cache/estimate-cache.ts';
import { activationHandlers } from './handlers.ts';
import { TEXT_SLICE_MS, TEXT_WAITING_MS_MAX } from './limits.ts';
import { ACTIVATION_METRICS } from './metrics.ts';
import { ModelNames } from './model-names.ts';
import { ModelRegistry } from './model-registry.ts';
import { RunService } from './run-service.ts';
import { TextTurns } from './text-turns.ts';

export { ACTIVATION_METRICS } from './metrics.ts';

export interface ActivationDeps {
  readonly engine: Engine;
  readonly hub: Hub;
  readonly store: Omit<ModelStore, 'openWeights'>;
  readonly openTokenizer: (folder: ModelFolder) => Promise<Tokenizer | undefined>;
  /** Names of imported models are the stream `activation.models`. */
  readonly journal: Journal;
  /** Shards of activations, and the prompts that a request brought. */
  readonly blobs: Blobs;
  readonly jobs: Pick<JobRuntime, 'submit' | 'list' | 'touch' | 'resume'>;
  readonly clock: Clock;
  /** Who asks: callers share the engine. Absent, all are one. */
  readonly callers?: Callers;
  readonly log: Log;
  readonly metrics: Metrics;
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
  const runs = new RunService({ engine, store, metrics, clock });
  const turns = new TextTurns(clock, { waitMsMax: TEXT_WAITING_MS_MAX, sliceMs: TEXT_SLICE_MS });
  const { blobs, jobs } = deps;
  const corpora = new Corpora({ hub, blobs });
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
      },
    },
    jobKinds: [cacheKind({ registry, runs, corpora, hub, engine, metrics, versions, sizes })],
    metrics: ACTIVATION_METRICS,
    close: async () => {}, // the engine belongs to whoever started it
  };
}
