import type { TaskContext } from '@heddle/actor';
import type {
  ScaleFactors,
  TrainBackend,
  TrainingManifest,
  TrainingState,
} from '@heddle/interp/lorsa';
import type { BlobDigest, Engine, EngineReport, Kernels, Metrics } from '@heddle/ports';
import type { ActivationSource } from './activation-source.ts';
import type { BatchReader } from './batch-reader.ts';
import type { CurvePoint } from './curve.ts';
import type { HostLayer, HostSizes } from './host-layer.ts';
import type { LayerShards } from './layer-shards.ts';
import type { TrainSettings } from './lorsa-settings.ts';
import type { TrainPrograms } from './programs.ts';
import type { Backend, TrainRequest } from './train-request.ts';

/** What a training needs of the rest of the process. */
export interface TrainDeps {
  readonly engine: Engine;
  readonly kernels: () => Promise<Kernels>;
  readonly activations: ActivationSource;
  readonly host: (model: string, layer: number) => Promise<HostLayer>;
  readonly sizes: (model: string) => Promise<HostSizes>;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
  /** Bytes of activations in memory together; the limit unless a test says less. */
  readonly groupBytes?: number;
}

/** What of a training is known before its activations are. */
export interface TrainingBase {
  readonly deps: TrainDeps;
  readonly context: TaskContext;
  readonly job: string;
  readonly request: TrainRequest;
  /** Digest of the request as the journal keeps it: that stays the same when later versions read more out of it. */
  readonly asked: string;
  readonly host: HostLayer;
  readonly engine: EngineReport;
}

/** What a checkpoint says beside the state: what bit-equal resuming depends on, and what was seen so far. */
export interface TrainManifest extends TrainingManifest {
  /** The job that cached the activations, and the blob of their manifest. */
  readonly activations: { readonly job: string; readonly digest: BlobDigest };
  /** Shards are in memory together up to here: the order of sequences follows from it. */
  readonly group_bytes: number;
  readonly backend: Backend;
  readonly host: Pick<HostLayer, 'modelDigest' | 'hookIn' | 'hookOut'>;
  /** Why this backend, where it is not the usual one. */
  readonly backend_reason: string;
}

/** Everything of one running training that does not change from step to step. */
export interface Training extends TrainingBase {
  readonly settings: TrainSettings;
  readonly programs: TrainPrograms;
  readonly shards: LayerShards;
  readonly reader: BatchReader;
  readonly factors: ScaleFactors;
  readonly manifest: TrainManifest;
  readonly backend: TrainBackend;
}

/** How far a training is. The state's tensors are those of its last checkpoint: the backend holds the present ones. */
export interface Standing {
  readonly state: TrainingState;
  /** Valid tokens trained on. */
  readonly tokens: number;
  readonly curve: readonly CurvePoint[];
  /** Step of the last checkpoint. */
  readonly saved: number;
}
