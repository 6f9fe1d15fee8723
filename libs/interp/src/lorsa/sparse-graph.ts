import { type Graph, GraphBuilder, type Value } from '@heddle/onnx';
import { AUX } from './auxiliary-graph.ts';
import { causalBlocks } from './causal-blocks.ts';
import { groupSize, type LorsaConfig } from './lorsa-config.ts';
import { type LorsaParameter, parameterShape } from './lorsa-weights.ts';
import {
  buildNormed,
  buildRotary,
  buildRows,
  causalMask,
  type ParameterValues,
  type RotaryInputs,
  required,
} from './projection-graph.ts';

/** What one variant of the first graph is built for. */
export interface EncodeOptions {
  readonly config: LorsaConfig;
  /** Positions of a sequence: a graph is cut into causal blocks for one length. */
  readonly pos: number;
  /** Also ranks the dead heads (feeds `dead` `[ov_head]` 1/0 and `aux_k`; outputs `aux_indices`, `aux_values`). */
  readonly auxiliary: boolean;
  /** Takes the winners (feed `winners` i32 `[token, feature]`) instead of choosing them. */
  readonly given: boolean;
}

/** Outputs of the first graph that the second reads; they stay in the engine. */
export const HANDED = { q: 'queries', k: 'keys', rows: { q: 'q_rows', k: 'k_rows' } } as const;
export const patternName = (block: number): string => `pattern_${block}`;

/** Parameters whose gradients the second graph gives. */
export function denseParameters(config: LorsaConfig): readonly LorsaParameter[] {
  const names: readonly LorsaParameter[] = ['W_Q', 'W_K', 'b_Q', 'b_K'];
  return config.qkNormEps === undefined ? names : [...names, 'ln_q', 'ln_k'];
}

/**
 * First graph of a sparse step: up to the winners. Y^h = A^h x of every shared head is computed instead of values of every
 * rank-one head, since z̃_i = Y^{h(i)}·w_v_i + b_V_i; later positions are cut off by causal blocks.
 *
 *   feeds     x `[batch, pos, d_model]` · rotary tables · W_Q, W_K, b_Q, b_K, ln_* · W_V, b_V · decoder_norms `[ov_head]` · k
 *   outputs   mixed = Y `[qk_head, batch, pos, d_model]` · indices i32, values (z; 0 where not active) `[token, feature]` ·
 *             queries, keys `[qk_head, batch, pos, d_head]`, pattern_0 … by block, q_rows, k_rows before the norm where there is one
 */
export function buildSparseEncode(options: EncodeOptions): Graph {
  const { config, pos } = options;
  const g = new GraphBuilder('lorsa_sparse_encode');
  const names = [...denseParameters(config), 'W_V', 'b_V'] as const;
  const parameters: ParameterValues = Object.fromEntries(
    names.map((name) => [name, g.input(name, 'f32', parameterShape(config, name))]),
  );
  const x = g.input('x', 'f32', ['batch', pos, config.d_model]);
  const rotary = rotaryInputs(g, config, pos);
  const heads = (side: 'q' | 'k') =>
    g.scope(side, () => {
      const rows = buildRows(g, config, parameters, { x, side });
      if (config.qkNormEps !== undefined) g.output(HANDED.rows[side], rows);
      const normed = buildNormed(g, config, parameters, { rows, side });
      return buildRotary(g, config, g.transpose(normed, [2, 0, 1, 3]), rotary);
    });
  const [q, k] = [heads('q'), heads('k')];
  g.output(HANDED.q, q);
  g.output(HANDED.k, k);
  const mixed = mixBlocks(g, config, pos, { x, q, k });
  g.output('mixed', mixed);
  buildWinners(g, options, parameters, mixed);
  return g.build();
}

export function rotaryInputs(g: GraphBuilder, config: LorsaConfig, pos: number): RotaryInputs {
  const table = (name: string) =>
    config.rotary ? g.input(name, 'f32', [pos, config.d_qk_head]) : undefined;
  return { cos: table('rotary_cos'), sin: table('rotary_sin') };
}

export const rowsOf = (
  g: GraphBuilder,
  t: Value,
  axis: number,
  start: number,
  end: number,
): Value => (start === 0 && end === t.shape[axis] ? t : g.slice(t, { axis, start, end }));

export const swapped = (g: GraphBuilder, t: Value): Value => {
  const axes = t.shape.map((_, i) => i);
  return g.transpose(t, [...axes.slice(0, -2), axes.length - 1, axes.length - 2]);
};

/** Patterns block by block (each an output), and Y = A x. */
function mixBlocks(
  g: GraphBuilder,
  config: LorsaConfig,
  pos: number,
  { x, q, k }: { x: Value; q: Value; k: Value },
): Value {
  const parts = causalBlocks(pos).map(({ start, end }, block) =>
    g.scope(`block.${block}`, () => {
      const queries = rowsOf(g, q, 2, start, end);
      const keys = rowsOf(g, k, 2, 0, end);
      const scores = g.mul(g.matMul(queries, swapped(g, keys)), 1 / config.attnScale);
      const pattern = g.softmax(g.add(scores, causalMask(g, end - start, end, start)));
      g.output(patternName(block), pattern);
      return g.matMul(pattern, rowsOf(g, x, 1, 0, end));
    }),
  );
  return parts.length === 1 ? parts[0] : g.concat(parts, { axis: 2 });
}

/** The K largest ranks of each token and their activations; the rank is z̃ ‖w_o‖, or z̃ alone where the config says so. */
function buildWinners(
  g: GraphBuilder,
  options: EncodeOptions,
  parameters: ParameterValues,
  mixed: Value,
): void {
  const { config } = options;
  const { n_qk_heads, n_ov_heads, d_model } = config;
  const group = groupSize(config);
  const norms = g.input('decoder_norms', 'f32', [n_ov_heads]);
  g.scope('winners', () => {
    // The norm goes onto the read rows, [ov_head, d_model], which are fewer numbers than [token, ov_head].
    const scaled = (t: Value, shape: readonly number[]) =>
      config.decoderNormInGate ? g.mul(t, g.reshape(norms, shape)) : t;
    const W_V = scaled(required(parameters, 'W_V'), [n_ov_heads, 1]);
    const b_V = scaled(required(parameters, 'b_V'), [n_ov_heads]);
    const Y = g.reshape(mixed, [n_qk_heads, -1, d_model]);
    const read = g.matMul(Y, swapped(g, g.reshape(W_V, [n_qk_heads, group, d_model])));
    const biased = g.add(read, g.reshape(b_V, [n_qk_heads, 1, group]));
    const ranks = g.reshape(g.transpose(biased, [1, 0, 2]), [-1, n_ov_heads]); // [token, ov_head]
    const choose = (among: Value, topK: string) =>
      g.topK(config.signed ? g.abs(among) : among, topK).indices;
    const emit = (prefix: string, among: Value, indices: Value) => {
      g.output(`${prefix}indices`, g.cast(indices, 'i32'));
      g.output(`${prefix}values`, buildActivations(g, config, { among, norms, indices }));
    };
    if (options.given) {
      const given = g.input('winners', 'i32', [ranks.shape[0], 'k']);
      emit('', ranks, g.cast(given, 'i64'));
    } else {
      g.sizeInput('k');
      emit('', ranks, choose(ranks, 'k'));
    }
    if (options.auxiliary) {
      g.sizeInput(AUX.topK);
      const dead = g.mul(ranks, g.input('dead', 'f32', [n_ov_heads]));
      emit('aux_', dead, choose(dead, AUX.topK));
    }
  });
}

/** z of the chosen heads, `[token, feature]`: rank / ‖w_o‖ where the rank is positive, else 0. */
function buildActivations(
  g: GraphBuilder,
  config: LorsaConfig,
  of: { among: Value; norms: Value; indices: Value },
): Value {
  const rank = g.gatherElements(of.among, of.indices, { axis: 1 });
  const z = config.decoderNormInGate ? g.div(rank, g.gather(of.norms, of.indices)) : rank;
  return g.where(g.greater(config.signed ? g.abs(rank) : rank, 0), z, 0);
}
