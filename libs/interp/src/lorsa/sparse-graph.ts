import { type Graph, GraphBuilder, type Value } from '@heddle/onnx';
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

/** Outputs of the first graph that the second reads; they stay in the engine. */
export const HANDED = { q: 'queries', k: 'keys', rows: { q: 'q_rows', k: 'k_rows' } } as const;
export const patternName = (block: number): string => `pattern_${block}`;

/** Parameters whose gradients the second graph gives. */
export function denseParameters(config: LorsaConfig): readonly LorsaParameter[] {
  const names: readonly LorsaParameter[] = ['W_Q', 'W_K', 'b_Q', 'b_K'];
  return config.qkNormEps === undefined ? names : [...names, 'ln_q', 'ln_k'];
}

/**
 * First graph of a sparse step: up to what every head reads. Y^h = A^h x of every shared head is computed instead of values of
 * every rank-one head, since z̃_i = Y^{h(i)}·w_v_i + b_V_i; later positions are cut off by causal blocks. The bias, the ranks and
 * the choice are the kernels', which need neither a transpose nor a sort of what loses.
 *
 *   feeds     x `[batch, pos, d_model]` · rotary tables · W_Q, W_K, b_Q, b_K, ln_* · W_V
 *   outputs   mixed = Y `[qk_head, batch, pos, d_model]` · reads = Y·w_v `[qk_head, token, ov_head]` of the group ·
 *             queries, keys `[qk_head, batch, pos, d_head]`, pattern_0 … by block, q_rows, k_rows before the norm where there is one
 */
export function buildSparseEncode(config: LorsaConfig, pos: number): Graph {
  const g = new GraphBuilder('lorsa_sparse_encode');
  const { d_model, n_qk_heads } = config;
  const parameters: ParameterValues = Object.fromEntries(
    [...denseParameters(config), 'W_V' as const].map((name) => [
      name,
      g.input(name, 'f32', parameterShape(config, name)),
    ]),
  );
  const x = g.input('x', 'f32', ['batch', pos, d_model]);
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
  const group = groupSize(config);
  const W_V = g.reshape(required(parameters, 'W_V'), [n_qk_heads, group, d_model]);
  const rows = g.reshape(mixed, [n_qk_heads, -1, d_model]); // one product per shared head
  g.output('reads', g.matMul(rows, swapped(g, W_V))); // a reshape here would be a copy
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
