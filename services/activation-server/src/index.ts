import type {
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
import { activationHandlers } from './handlers.ts';
import { ACTIVATION_METRICS } from './metrics.ts';
import { ModelNames } from './model-names.ts';
import { ModelRegistry } from './model-registry.ts';
import { RunService } from './run-service.ts';

export { ACTIVATION_METRICS } from './metrics.ts';

export interface ActivationDeps {
  readonly engine: Engine;
  readonly hub: Hub;
  readonly store: Omit<ModelStore, 'openWeights'>;
  readonly openTokenizer: (folder: ModelFolder) => Promise<Tokenizer | undefined>;
  /** Names of imported models are the stream `activation.models`. */
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Folder of the bundled model. */
  readonly bundledModel: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** Models and the values inside them, over gRPC: `heddle.activation.v1`. */
export async function createService(deps: ActivationDeps): Promise<Service<never>> {
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
  return {
    name: 'activation-server',
    handlers: {
      activation: activationHandlers({ registry, runs, engine, metrics, clock, versions }),
    },
    jobKinds: [],
    metrics: ACTIVATION_METRICS,
    close: async () => {}, // the engine belongs to whoever started it
  };
}
