import type { TaskContext } from '@heddle/actor';
import type { LorsaLayer } from '@heddle/interp/lorsa';
import type { InspectedLayer } from '@heddle/interp/lorsa/heads';
import type { SaeLayer } from '@heddle/interp/sae';
import type { Engine, Metrics } from '@heddle/ports';
import type { Tensor } from '@heddle/tensor';
import type { HostLayer } from '../host-layer.ts';
import type { Unseen } from '../unseen.ts';
import type { AnalysisRequest } from './analysis-request.ts';
import type { BaselineReader } from './baseline-reader.ts';
import type { HeadRunner } from './head-runner.ts';
import type { Vocabulary } from './vocabulary-pass.ts';

/** What an analysis needs of the rest of the process. */
export interface AnalyseDeps {
  readonly engine: Engine;
  readonly metrics: Metrics;
  readonly versions: Readonly<Record<string, string>>;
  readonly layer: (checkpoint: string) => Promise<LorsaLayer>;
  /** Text that did not train the checkpoint. */
  readonly unseen: (context: TaskContext, request: AnalysisRequest) => Promise<Unseen>;
  readonly host: (model: string, layer: number) => Promise<HostLayer>;
  readonly vocabulary: (model: string) => Promise<Vocabulary>;
  /** The TopK SAE beside the training that made the checkpoint. */
  readonly baseline: (
    request: AnalysisRequest,
    context: TaskContext,
  ) => Promise<{ readonly layer: SaeLayer; readonly digest: string }>;
  /** Texts with their ids, without special tokens; none for a model without a tokenizer. */
  readonly encode: (
    model: string,
    texts: readonly string[],
    signal: AbortSignal,
  ) => Promise<readonly (readonly [text: string, ids: readonly number[]])[]>;
  /** What the tokenizer puts before every prompt: BOS, or nothing. */
  readonly prefix: (model: string, signal: AbortSignal) => Promise<readonly number[]>;
  readonly texts: (
    of: { readonly model: string; readonly n_ctx: number },
    tokens: ReadonlySet<number>,
    signal: AbortSignal,
  ) => Promise<ReadonlyMap<number, string>>;
  /** x `[pos, d_model]` of each sequence at a hook, in host units. */
  readonly capture: (
    model: string,
    hook: string,
    sequences: readonly (readonly number[])[],
    signal: AbortSignal,
  ) => Promise<readonly Tensor<'f32'>[]>;
}

/** Everything of one running analysis that does not change while the text goes by. */
export interface Analysis {
  readonly deps: AnalyseDeps;
  readonly context: TaskContext;
  readonly request: AnalysisRequest;
  readonly unseen: Unseen;
  readonly host: HostLayer;
  readonly inspected: InspectedLayer;
  /** What identifies the findings. */
  readonly content: string;
  readonly runner: HeadRunner;
  readonly baseline: BaselineReader | undefined;
  readonly startedMs: number;
}
