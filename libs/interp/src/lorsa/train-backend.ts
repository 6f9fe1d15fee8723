import type { Graph } from '@heddle/onnx';
import type { Tensor } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import type { DeadCounter, LorsaSums } from './metrics.ts';
import type { StepNumbers } from './train-graph.ts';

/** Whole sequences and the numbers of one training step. */
export interface TrainStep {
  /** `[batch, pos, d_model]`, normalised, both. */
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  /** `[batch, pos]`, 0 or 1. */
  readonly valid: Tensor<'f32'>;
  readonly numbers: StepNumbers;
  /** Heads that win instead of the strongest, i32 `[token, feature]` with feature = K: replays another run. Sparse only. */
  readonly winners?: Tensor<'i32'> | undefined;
}

export interface StepReport {
  readonly sums: LorsaSums;
  /** What was differentiated: the mean squared error per valid token, plus the auxiliary loss. */
  readonly loss: number;
  /** coefficient · mean ‖e − ê‖²; 0 without AuxK and while no head is dead. */
  readonly auxiliaryLoss: number;
  /** Global norm before clipping. */
  readonly gradientNorm: number;
  /** Valid tokens on which each head was active, `[ov_head]`. */
  readonly fired: Float32Array;
  /** i32 `[token, feature]`, rank descending; of `sparse` the active ones, then -1. Only when the options ask for them. */
  readonly winners?: Tensor<'i32'> | undefined;
}

export type StateTensors = Readonly<Record<string, Tensor<'f32'>>>;

/** A training's parameters and moments, and what moves them. Two of them agree to fp32 rounding. */
export interface TrainBackend {
  readonly name: 'graph' | 'sparse';
  /** Steps that one `run` takes at most. */
  readonly stepsMax: number;
  /**
   * Runs steps in order, all or none: an error leaves the state as it was. `dead` is the counter before the first of
   * them; the later ones are counted inside.
   */
  run(
    steps: readonly TrainStep[],
    options: { readonly dead: DeadCounter; readonly signal?: AbortSignal | undefined },
  ): Promise<readonly StepReport[]>;
  /** Copies, under their feed names. `load` of them continues to the same bits. */
  tensors(): StateTensors;
  load(tensors: StateTensors): Promise<void>;
  close(): Promise<void>;
}

/** AuxK (methods 1.8): dead heads learn to explain what the others leave. */
export interface AuxiliarySettings {
  readonly coefficient: number;
  /** Dead heads per token at most. */
  readonly topK: number;
  /** Tokens of silence after which a head is dead; at most 2^24, which fp32 still counts to. */
  readonly deadTokens: number;
}

export type GraphFeed = Tensor | { readonly step: number; readonly output: string };

/** What the backends need of the port `Engine`. */
export interface GraphEngine<P> {
  run(
    plan: {
      readonly steps: readonly {
        readonly program: P;
        readonly feeds: Readonly<Record<string, GraphFeed>>;
        readonly keep: readonly string[];
        readonly into?: Readonly<Record<string, Tensor>>;
        readonly waits?: boolean;
      }[];
    },
    options?: {
      readonly signal?: AbortSignal;
      readonly onStep?: (
        step: number,
        outputs: Readonly<Record<string, Tensor>>,
      ) => void | Promise<void>;
    },
  ): Promise<readonly Readonly<Record<string, Tensor>>[]>;
}

export interface BackendOptions<P> {
  readonly config: LorsaConfig;
  readonly engine: GraphEngine<P>;
  /** Makes what the engine runs: encoded, with its digest. */
  readonly program: (graph: Graph) => P;
  readonly auxiliary?: AuxiliarySettings | undefined;
  /** batch · pos of the largest step. */
  readonly tokensMax: number;
  /** Largest K that the schedule gives. */
  readonly topKMax: number;
  /** Also reports which heads won: to replay a run on the other backend. */
  readonly reportsWinners?: boolean | undefined;
  /** Graph only: steps in one plan, whose state stays in the engine. */
  readonly stepsMax?: number | undefined;
}
