import { assert } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import { adamCorrections } from './adam.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import type { DeadCounter } from './metrics.ts';
import { denseParameters } from './sparse-graph.ts';
import type { SparseKernels, SparseSizes, SparseSums } from './sparse-kernels.ts';
import { sparsePlanner } from './sparse-plan.ts';
import { copyState, requireState } from './state-tensors.ts';
import type { BackendOptions, StepReport, TrainBackend, TrainStep } from './train-backend.ts';
import type { StepNumbers } from './train-graph.ts';

type Outputs = Readonly<Record<string, Tensor>>;
type SparseOptions<P> = BackendOptions<P> & { readonly kernels: SparseKernels };

/** What memory the kernels need for a training: for `Kernels.estimate` and `Kernels.open`. */
export function sparseSizes<P>(
  options: Pick<BackendOptions<P>, 'config' | 'tokensMax' | 'topKMax' | 'auxiliary'> & {
    /** Whether any step clips the norm. */
    readonly clips: boolean;
  },
): SparseSizes {
  const { config, tokensMax, topKMax, auxiliary, clips } = options;
  const auxSlotsMax = auxiliary ? Math.min(auxiliary.topK, config.n_ov_heads) : 0;
  return { config, tokensMax, slotsMax: topKMax, auxSlotsMax, keepsGradients: clips };
}

/**
 * The `sparse` backend: dense products in the engine, active (token, head) pairs in kernels, whose memory holds the state.
 *
 *   encode graph ─ Y, reads ─▶ kernels.gate, backward ─ U ─▶ backward graph ─ dW_Q … ─▶ kernels.update
 *        └─────────── q, k, patterns stay in the engine ───────────┘
 *
 * Nothing is changed before `update`, so that a cancelled step has not happened. A step whose loss is not finite is
 * reported and not taken.
 */
export function sparseBackend<P>(options: SparseOptions<P>): TrainBackend {
  const { config, kernels } = options;
  const planned = sparsePlanner(options);
  return {
    name: 'sparse',
    stepsMax: 1, // the state is at hand between steps anyway: nothing is gained by a chain
    run: async (steps, { dead, signal }) => {
      assert(steps.length === 1, 'the sparse backend takes one step at a time');
      return [await takeStep(options, planned, { step: steps[0], dead, signal })];
    },
    tensors: () => copyState(kernels.state),
    load: async (tensors) => {
      requireState(config, tensors);
      for (const [name, { data }] of Object.entries(kernels.state)) {
        data.set(tensors[name]?.data ?? []);
      }
      await kernels.measureNorms();
    },
    close: () => kernels.close(),
  };
}

interface Asked {
  readonly step: TrainStep;
  readonly dead: DeadCounter;
  readonly signal?: AbortSignal | undefined;
}

async function takeStep<P>(
  options: SparseOptions<P>,
  planned: ReturnType<typeof sparsePlanner<P>>,
  { step, dead, signal }: Asked,
): Promise<StepReport> {
  const { config, kernels, engine } = options;
  const { plan, gate } = planned(step, dead);
  const coefficient = options.auxiliary?.coefficient ?? 0;
  let sums: SparseSums | undefined;
  let winners: Tensor<'i32'> | undefined;
  let dense: Outputs = {};
  const onStep = async (index: number, outputs: Outputs): Promise<void> => {
    if (index === 1) {
      dense = outputs;
      return;
    }
    const { active, auxiliary: pairs } = await kernels.gate(gate);
    winners = active.indices;
    sums = await kernels.backward({
      ...{ batch: gate.batch, pos: gate.pos, y: step.y, valid: step.valid, active },
      ...(pairs ? { auxiliary: { pairs, coefficient } } : {}),
    });
  };
  await engine.run(plan, { onStep, ...(signal ? { signal } : {}) });
  assert(sums, 'the engine ran no first step');
  const loss = sums.loss + sums.auxiliaryLoss;
  const finite = Number.isFinite(loss);
  const updated = finite && (await kernels.update(updateOf(step.numbers, config, dense)));
  return {
    ...reportOf(sums),
    loss,
    gradientNorm: updated ? updated.gradientNorm : Number.NaN,
    ...(options.reportsWinners && winners ? { winners } : {}),
  };
}

function updateOf(numbers: StepNumbers, config: LorsaConfig, outputs: Outputs) {
  const { first, second } = adamCorrections(numbers.adam, numbers.step);
  const { rate, clipNorm, adam } = numbers;
  const dense = denseParameters(config).map((name) => {
    return [name, outputs[`gradient.${name}`] as Tensor<'f32'>] as const;
  });
  return {
    rate,
    clipNorm,
    ...adam,
    correction1: first,
    correction2: second,
    dense: Object.fromEntries(dense),
  };
}

function reportOf(sums: SparseSums): Pick<StepReport, 'sums' | 'auxiliaryLoss' | 'fired'> {
  const { tokens, errorSum, squareSum, activeSum, total, fired, auxiliaryLoss } = sums;
  return {
    sums: {
      tokens,
      error: errorSum,
      square: squareSum,
      total: Float64Array.from(total),
      active: activeSum,
    },
    auxiliaryLoss,
    fired,
  };
}
