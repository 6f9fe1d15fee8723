import type { JobRuntime } from '@heddle/actor';
import type { LoadedModel, WeightReader } from '@heddle/adapters/hub';
import type { Graph } from '@heddle/onnx';
import type {
  Blobs,
  Clients,
  Clock,
  Engine,
  Events,
  Hub,
  Journal,
  Log,
  Metrics,
  ModelFolder,
  Program,
  Tokenizer,
} from '@heddle/ports';

/** What every service of the process is made from; each takes what it needs. */
export interface ServiceDeps {
  readonly engine: Engine;
  readonly hub: Hub;
  readonly store: {
    /** config.json alone. */
    config(folder: ModelFolder): Promise<LoadedModel['config']>;
    load(folder: ModelFolder): Promise<LoadedModel>;
    program(model: LoadedModel, graph: Graph): Program;
    /** Single weights of a model, for the mathematics that runs on the host. */
    openWeights(folder: ModelFolder, model: LoadedModel): WeightReader;
  };
  readonly openTokenizer: (folder: ModelFolder) => Promise<Tokenizer | undefined>;
  readonly blobs: Blobs;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly events: Events;
  readonly jobs: JobRuntime;
  /** Clients of this cluster: how one service calls another. */
  readonly peers: Clients;
  readonly dataDirectory: string;
  /** Folder of the bundled model. */
  readonly bundledModel: string;
  readonly versions: Readonly<Record<string, string>>;
}
