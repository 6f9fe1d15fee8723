import { assert } from '@heddle/core';
import { type Tensor, tensor } from '@heddle/tensor';
import { AUX } from './auxiliary-graph.ts';
import { causalBlocks } from './causal-blocks.ts';
import { rotaryTables } from './graph-backend.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import type { DeadCounter } from './metrics.ts';
import { buildSparseBackward } from './sparse-backward-graph.ts';
import { buildSparseEncode, denseParameters, HANDED, patternName } from './sparse-graph.ts';
import type { SparseKernels } from './sparse-kernels.ts';
import type { BackendOptions, GraphFeed, TrainStep } from './train-backend.ts';

type Outputs = Readonly<Record<string, Tensor>>;

/**
 * The plan of a sparse step: the first graph, then the second, which waits until the kernels have made U of what the first
 * one found.
 */
export function sparsePlanner<P>(options: BackendOptions<P> & { readonly kernels: SparseKernels }) {
  const { config, kernels } = options;
  const programs = programsByLength(options);
  const tables = rotaryTables(config);
  const dense = denseParameters(config);
  return (step: TrainStep, dead: DeadCounter) => {
    const [batch = 0, pos = 0] = step.x.shape;
    const aux = deadFeeds(options, dead);
    const given = step.winners !== undefined;
    const program = programs(pos, { auxiliary: aux !== undefined, given });
    const shared = { x: step.x, ...tables(pos) };
    const encode = {
      program: program.encode,
      feeds: {
        ...shared,
        ...stateFeedsOf(kernels, [...dense, 'W_V', 'b_V']),
        decoder_norms: kernels.decoderNorms,
        ...winnerFeeds(step),
        ...aux,
      },
      keep: ['indices', 'values', ...(aux ? ['aux_indices', 'aux_values'] : [])],
      into: { mixed: kernels.mixed(batch, pos) },
    };
    const gains = dense.filter((name) => name.startsWith('ln_'));
    const backward = {
      program: program.backward,
      feeds: {
        ...shared,
        ...handedOn(config, pos),
        ...stateFeedsOf(kernels, gains),
        cotangent: kernels.cotangent(batch, pos),
      },
      keep: dense.map((name) => `gradient.${name}`),
      waits: true,
    };
    return { plan: { steps: [encode, backward] }, batch, pos, auxiliary: aux !== undefined };
  };
}

interface Variant {
  readonly auxiliary: boolean;
  readonly given: boolean;
}

/** Programs are cut for one length of sequences, made when first asked for. */
function programsByLength<P>({ config, program }: BackendOptions<P>) {
  const encodes = new Map<string, P>();
  const backwards = new Map<number, P>();
  return (pos: number, variant: Variant): { readonly encode: P; readonly backward: P } => {
    const key = `${pos} ${variant.auxiliary} ${variant.given}`;
    const encode = encodes.get(key) ?? program(buildSparseEncode({ config, pos, ...variant }));
    const backward = backwards.get(pos) ?? program(buildSparseBackward(config, pos));
    encodes.set(key, encode);
    backwards.set(pos, backward);
    return { encode, backward };
  };
}

function stateFeedsOf(kernels: SparseKernels, names: readonly string[]): Outputs {
  return Object.fromEntries(
    names.map((name) => {
      const value = kernels.state[name];
      assert(value, () => `the kernels hold no ${name}`);
      return [name, value];
    }),
  );
}

/** Outputs of the first graph that are feeds of the second. */
function handedOn(config: LorsaConfig, pos: number): Record<string, GraphFeed> {
  const names = [
    HANDED.q,
    HANDED.k,
    ...causalBlocks(pos).map((_, block) => patternName(block)),
    ...(config.qkNormEps === undefined ? [] : [HANDED.rows.q, HANDED.rows.k]),
  ];
  return Object.fromEntries(names.map((name) => [name, { step: 0, output: name }]));
}

const size = (n: number): Tensor => tensor('i64', [1], BigInt64Array.of(BigInt(n)));

function winnerFeeds({ winners, numbers }: TrainStep): Outputs {
  return winners ? { winners } : { k: size(numbers.topK) };
}

/** The dead heads and how many of them a token may revive; undefined while none is dead, which costs nothing. */
function deadFeeds<P>({ config, auxiliary }: BackendOptions<P>, dead: DeadCounter) {
  if (!auxiliary) return undefined;
  const mask = Float32Array.from(dead.silentTokens, (silent) =>
    silent >= auxiliary.deadTokens ? 1 : 0,
  );
  const count = mask.reduce((a, b) => a + b, 0);
  if (count === 0) return undefined;
  return {
    dead: tensor('f32', [config.n_ov_heads], mask),
    [AUX.topK]: size(Math.min(auxiliary.topK, count)),
  };
}
