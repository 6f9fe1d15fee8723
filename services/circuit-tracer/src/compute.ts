import type { Estimate } from '@heddle/actor';
import type { Json } from '@heddle/core';
import {
  accppSteps,
  type BasisOf,
  type Question,
  type ScoreEdit,
  sadSteps,
  type Trace,
  type TraceEdge,
} from '@heddle/interp/circuit';
import { type HostRun, hostBytes, TWIN_RATE, TWIN_TOKENS_MAX } from '@heddle/interp/host';
import { toInline } from '@heddle/ports';
import type { ModelInfo } from '@heddle/ports/proto/activation';
import { tensor } from '@heddle/tensor';
import { EDGES_SHOWN, NODES_TYPICAL } from './limits.ts';
import type { TraceRequest } from './trace-request.ts';

/**
 * Memory: the model's folded weights, and every head's output at every position. Time: each node looks at each of those
 * outputs. Both for the longest prompts that a trace takes, as texts are not tokenised yet.
 */
export function estimateTrace(prompts: number, info: ModelInfo): Estimate {
  const { n_layers, n_heads, d_model } = info;
  const outputs = n_layers * n_heads * TWIN_TOKENS_MAX * d_model;
  return {
    bytes: hostBytes(info, { layers: n_layers, logits: true }) + 8 * outputs,
    seconds: (prompts * NODES_TYPICAL * 2 * outputs) / TWIN_RATE,
  };
}

/** The trace that a request asks for, in steps. */
export function traceSteps(
  run: HostRun,
  question: Question,
  { method, threshold }: Pick<TraceRequest, 'method' | 'threshold'>,
  basisOf: BasisOf,
): Generator<number, Trace> {
  if (method === 'sad') return sadSteps(run, question, threshold ? { firing: threshold } : {});
  return accppSteps(run, question, { threshold: threshold ?? 'dynamic' }, basisOf);
}

/** One graph as the file has it. */
export type GraphJson = {
  readonly prompt: number;
  readonly tokens: readonly number[];
  readonly method: 'accpp' | 'sad';
  readonly objective: 'probability' | 'logit';
  readonly position: number;
  readonly targets: readonly number[];
  readonly versus: readonly number[];
  readonly value: number;
  readonly sum: number;
  readonly residual: number;
  readonly terms_abs_sum: number;
  readonly unexplained: readonly string[];
  readonly nodes: readonly Json[];
  readonly edges: readonly {
    readonly from: string;
    readonly to: string;
    readonly side: string;
    readonly weight: number;
    readonly singular_vectors: readonly number[];
    /** What ablating the edge alone does to the objective; only where it was asked for. */
    readonly validated?: number;
  }[];
};

export function graphJson(
  prompt: number,
  tokens: readonly number[],
  question: Question,
  method: 'accpp' | 'sad',
  { graph, seeding, unexplained }: Trace,
  validated: ReadonlyMap<TraceEdge, number> = new Map(),
): GraphJson {
  const { targets, versus, objective, position } = question;
  const { value, sum, termsAbsSum } = seeding;
  return {
    prompt,
    tokens,
    method,
    objective,
    position,
    targets,
    versus,
    value,
    sum,
    residual: value - sum,
    terms_abs_sum: termsAbsSum,
    unexplained,
    nodes: graph.nodes.map((node) => ({ ...node })),
    edges: graph.edges.map((edge) => {
      const change = validated.get(edge);
      return change === undefined ? { ...edge } : { ...edge, validated: change };
    }),
  };
}

/** A graph in a line of the summary: counts, and the strongest edges. */
export function graphSummary(graph: GraphJson) {
  const { nodes, edges, method: _, unexplained, targets, versus, ...rest } = graph;
  const strongest = edges
    .toSorted((a, b) => Math.abs(b.weight) - Math.abs(a.weight))
    .slice(0, EDGES_SHOWN)
    .map(({ from, to, side, weight }) => ({ from, to, side, weight }));
  return {
    ...rest,
    target: targets[0] ?? null,
    targets,
    versus,
    nodes: nodes.length,
    edges: edges.length,
    unexplained: unexplained.length,
    strongest,
  };
}

/**
 * A local edit as the activation server takes it: added to the scores of one head, in one prompt of
 * a batch.
 */
export function scoreIntervention(edit: ScoreEdit, prompt: number, length: number) {
  const { layer, head, side, position, change } = edit;
  const rows = side === 'dest' ? 1 : length - position;
  const value = new Float32Array(rows * length);
  change.forEach((delta, i) => {
    value[side === 'dest' ? i : i * length + position] = delta;
  });
  return {
    hook: `blocks.${layer}.attn.hook_attn_scores`,
    kind: 'INTERVENTION_KIND_ADD' as const,
    heads: [head],
    positions: Array.from({ length: rows }, (_, row) => position + row),
    prompts: [prompt],
    value: toInline(tensor('f32', [1, rows, length], value)),
  };
}
