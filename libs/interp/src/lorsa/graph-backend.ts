import { assert } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';
import { AUX, SILENT_MAX } from './auxiliary-graph.ts';
import { rotaryFeeds } from './forward-graph.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { toF32 } from './lorsa-weights.ts';
import type { DeadCounter } from './metrics.ts';
import { nextName } from './state-feeds.ts';
import { copyState, requireState } from './state-tensors.ts';
import type {
  AuxiliarySettings,
  BackendOptions,
  GraphFeed,
  StateTensors,
  StepReport,
  TrainBackend,
  TrainStep,
} from './train-backend.ts';
import { buildTrainStep, stepFeeds } from './train-graph.ts';

const SUMS = ['tokens', 'error_sum', 'square_sum', 'total', 'active_sum'] as const;
const REPORTED = ['loss', 'gradient_norm', 'fired', ...SUMS] as const;

type Outputs = Readonly<Record<string, Tensor>>;

/**
 * The `graph` backend: every step is one graph with everything dense, the reference that runs wherever the engine does.
 * Steps of one `run` are one plan, between whose steps the state stays in the engine.
 */
export function graphBackend<P>(options: BackendOptions<P>): TrainBackend {
  const { config, engine, auxiliary } = options;
  const plain = options.program(buildTrainStep(config));
  const withAux = auxiliary && options.program(buildTrainStep(config, { auxiliary: true }));
  const tables = rotaryTables(config);
  let state: StateTensors | undefined;

  const run: TrainBackend['run'] = async (steps, { dead, signal }) => {
    assert(state, 'a backend steps after it was loaded');
    assert(steps.length > 0, 'no step to run');
    assert(!steps.some((step) => step.winners), 'the graph chooses its winners itself');
    const aux = auxiliary && mayDie(auxiliary, dead, steps) ? auxiliary : undefined;
    const carried = { ...state, ...(aux ? { [AUX.silent]: silence(dead) } : {}) };
    const reported = [
      ...REPORTED,
      ...(aux ? [AUX.loss] : []),
      ...(options.reportsWinners ? ['winners'] : []),
    ];
    const planned = steps.map((step, index) => ({
      program: aux && withAux ? withAux : plain,
      feeds: {
        ...carriedFeeds(carried, index),
        ...stepInputs(step, tables),
        ...(aux ? auxiliaryFeeds(config, aux) : {}),
      },
      keep: [
        ...reported,
        ...(index === steps.length - 1 ? Object.keys(state ?? {}).map(nextName) : []),
      ],
    }));
    const outputs = await engine.run({ steps: planned }, signal ? { signal } : {});
    const last = outputs.at(-1);
    assert(last, 'a plan without outputs');
    state = Object.fromEntries(
      Object.keys(state).map((name) => [name, last[nextName(name)] as Tensor<'f32'>]),
    );
    return outputs.map(reportOf);
  };
  return {
    name: 'graph',
    stepsMax: options.stepsMax ?? 1,
    run,
    tensors: () => {
      assert(state, 'a backend has a state after it was loaded');
      return copyState(state);
    },
    load: async (tensors) => {
      requireState(config, tensors);
      state = copyState(tensors);
    },
    close: async () => {
      state = undefined;
    },
  };
}

/** Rotary tables in single precision, made once per length. */
export function rotaryTables(config: LorsaConfig): (positions: number) => Outputs {
  const known = new Map<number, Outputs>();
  return (positions) => {
    const made =
      known.get(positions) ??
      Object.fromEntries(
        Object.entries(rotaryFeeds(config, positions)).map(([name, t]) => [name, toF32(t)]),
      );
    known.set(positions, made);
    return made;
  };
}

function carriedFeeds(
  carried: Readonly<Record<string, Tensor>>,
  index: number,
): Record<string, GraphFeed> {
  if (index === 0) return carried;
  const before = Object.keys(carried).map((name) => {
    return [name, { step: index - 1, output: nextName(name) }] as const;
  });
  return Object.fromEntries(before);
}

function stepInputs(step: TrainStep, tables: (positions: number) => Outputs): Outputs {
  const { x, y, valid, numbers } = step;
  return { x, y, valid, ...tables(x.shape[1] ?? 0), ...stepFeeds(numbers) };
}

/**
 * Whether a head could be dead at one of these steps. Where none can, AuxK adds exactly nothing, so that the plain graph
 * computes the same bits for less.
 */
function mayDie(aux: AuxiliarySettings, dead: DeadCounter, steps: readonly TrainStep[]): boolean {
  const longest = dead.silentTokens.reduce((a, b) => Math.max(a, b), 0);
  const before = steps.slice(0, -1).reduce((sum, { valid }) => sum + countOf(valid), 0);
  return longest + before >= aux.deadTokens;
}

const countOf = ({ data }: Tensor<'f32'>): number => data.reduce((sum, v) => sum + v, 0);

function silence({ silentTokens }: DeadCounter): Tensor<'f32'> {
  const capped = Float32Array.from(silentTokens, (tokens) => Math.min(tokens, SILENT_MAX));
  return tensor('f32', [capped.length], capped);
}

function auxiliaryFeeds(config: LorsaConfig, aux: AuxiliarySettings): Outputs {
  assert(aux.deadTokens <= SILENT_MAX, () => `dead after ${aux.deadTokens} tokens: past 2^24`);
  const slots = Math.min(aux.topK, config.n_ov_heads);
  return {
    [AUX.topK]: tensor('i64', [1], BigInt64Array.of(BigInt(slots))),
    [AUX.coefficient]: tensor('f32', [], Float32Array.of(aux.coefficient)),
    [AUX.deadTokens]: tensor('f32', [], Float32Array.of(aux.deadTokens)),
  };
}

function reportOf(outputs: Outputs): StepReport {
  const number = (name: string) => Number(outputs[name]?.data[0] ?? Number.NaN);
  const list = (name: string) => outputs[name]?.data as Float32Array;
  const { winners } = outputs;
  return {
    sums: {
      tokens: number('tokens'),
      error: number('error_sum'),
      square: number('square_sum'),
      total: Float64Array.from(list('total')),
      active: number('active_sum'),
    },
    loss: number('loss'),
    auxiliaryLoss: outputs[AUX.loss] ? number(AUX.loss) : 0,
    gradientNorm: number('gradient_norm'),
    fired: Float32Array.from(list('fired')),
    ...(winners
      ? { winners: tensor('i32', winners.shape, Int32Array.from(winners.data as never, Number)) }
      : {}),
  };
}
