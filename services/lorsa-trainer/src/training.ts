import type { TaskContext } from '@heddle/actor';
import type { TrainingManifest } from '@heddle/interp/lorsa';
import type { Engine, EngineReport, Metrics } from '@heddle/ports';
import type { Activations } from './activations.ts';
import type { HostLayer, HostSizes } from './host-layer.ts';
import { DEAD_SHARE, DEAD_TOKENS } from './limits.ts';
import type { TrainSettings } from './lorsa-settings.ts';
import type { TrainPrograms } from './programs.ts';
import type { TextOrTokens, TrainRequest } from './train-request.ts';
import type { SplitSequences } from './training-data.ts';

/** What a training needs of the rest of the process. */
export interface TrainDeps {
  readonly engine: Engine;
  readonly activations: Activations;
  readonly host: (model: string, layer: number) => Promise<HostLayer>;
  readonly sizes: (model: string) => Promise<HostSizes>;
  /** Prompts of a corpus file; without a corpus and without prompts, the text of the bundled model's tasks. */
  readonly corpus: (data: TrainRequest['data']) => Promise<readonly TextOrTokens[]>;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
}

/** What of a running training is known before its activations are. */
export type TrainingBase = Omit<Training, 'data' | 'manifest'>;

/** Everything of one running training that does not change from step to step. */
export interface Training {
  readonly deps: TrainDeps;
  readonly context: TaskContext;
  readonly request: TrainRequest;
  readonly host: HostLayer;
  readonly settings: TrainSettings;
  readonly programs: TrainPrograms;
  readonly engine: EngineReport;
  readonly data: SplitSequences;
  readonly manifest: TrainingManifest;
}

/** Tokens of silence after which a head counts as dead in this training. */
export function deadThreshold({ data, settings }: Training): number {
  const sequences = data.train.x.shape[0] ?? 1;
  const valid = data.train.valid.data.reduce((sum, v) => sum + v, 0);
  const planned = (valid / sequences) * settings.batch * settings.steps;
  return Math.min(DEAD_TOKENS, DEAD_SHARE * planned);
}
