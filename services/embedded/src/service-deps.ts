import type { Distribution } from '@heddle/activation-server';
import type { JobRuntime } from '@heddle/actor';
import type {
  Blobs,
  Callers,
  Clients,
  Clock,
  ContractName,
  Engine,
  Events,
  Hub,
  Journal,
  Kernels,
  Log,
  Metrics,
  ModelFolder,
  ModelStore,
  Tokenizer,
  Tracing,
} from '@heddle/ports';

/** What every service of the process is made from; each takes what it needs. */
export interface ServiceDeps {
  readonly engine: Engine;
  /** Loaded when they are first asked for. */
  readonly kernels: () => Promise<Kernels>;
  readonly hub: Hub;
  readonly store: ModelStore;
  /** How models get to every replica. */
  readonly distribution: Distribution;
  readonly openTokenizer: (folder: ModelFolder) => Promise<Tokenizer | undefined>;
  readonly blobs: Blobs;
  readonly journal: Journal;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Undefined where nobody asked for traces. */
  readonly tracing: Tracing | undefined;
  readonly events: Events;
  /** Who asks. */
  readonly callers: Callers;
  readonly jobs: JobRuntime;
  /** Clients of this cluster: how one service calls another. */
  readonly peers: Clients;
  /** Jobs of the process that answers a contract: where what its services have started is waited for. */
  readonly jobsOf: (contract: ContractName) => Clients['jobs'];
  readonly dataDirectory: string;
  /** Folder of the bundled model. */
  readonly bundledModel: string;
  readonly versions: Readonly<Record<string, string>>;
}
