import { assert } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';
import { causalBlocks } from './causal-blocks.ts';
import { rotaryTables } from './graph-backend.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import type { DeadCounter } from './metrics.ts';
import { buildSparseBackward } from './sparse-backward-graph.ts';
import { buildSparseEncode, denseParameters, HANDED, patternName } from './sparse-graph.ts';
import type { SparseGate, SparseKernels } from './sparse-kernels.ts';
import type { BackendOptions, GraphFeed, TrainStep } from './train-backend.ts';

type Outputs = Readonly<Record<string, Tensor>>;

/**
 * The plan of a sparse step, and what its gate chooses by: the first graph, then the second, which waits until the kernels have
 * made U of what the first one found.
 */
export function sparsePlanner<P>(options: BackendOptions<P> & { readonly kernels: SparseKernels }) {
  const { config, kernels } = options;
  const programs = programsByLength(options);
  const tables = rotaryTables(config);
  const dense = denseParameters(config);
  return (step: TrainStep, dead: DeadCounter) => {
    const [batch = 0, pos = 0] = step.x.shape;
    const program = programs(pos);
    const shared = { x: step.x, ...tables(pos) };
    const encode = {
      program: program.encode,
      feeds: { ...shared, ...stateFeedsOf(kernels, [...dense, 'W_V']) },
      keep: [],
      into: { mixed: kernels.mixed(batch, pos), reads: kernels.reads(batch, pos) },
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
    const gate: SparseGate = {
      ...{ batch, pos },
      winners: step.winners ?? step.numbers.topK,
      auxiliary: deadHeads(options, dead),
    };
    return { plan: { steps: [encode, backward] }, gate };
  };
}

/** Programs are cut for one length of sequences, made when first asked for. */
function programsByLength<P>({ config, program }: BackendOptions<P>) {
  const made = new Map<number, { readonly encode: P; readonly backward: P }>();
  return (pos: number): { readonly encode: P; readonly backward: P } => {
    const both = made.get(pos) ?? {
      encode: program(buildSparseEncode(config, pos)),
      backward: program(buildSparseBackward(config, pos)),
    };
    made.set(pos, both);
    return both;
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

/** The dead heads and how many of them a token may revive; undefined while none is dead, which costs nothing. */
function deadHeads<P>({ auxiliary }: BackendOptions<P>, dead: DeadCounter) {
  if (!auxiliary) return undefined;
  const mask = Float32Array.from(dead.silentTokens, (silent) =>
    silent >= auxiliary.deadTokens ? 1 : 0,
  );
  const count = mask.reduce((a, b) => a + b, 0);
  if (count === 0) return undefined;
  return { dead: mask, topK: Math.min(auxiliary.topK, count) };
}
