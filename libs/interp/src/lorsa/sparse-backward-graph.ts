import { type Graph, GraphBuilder, type Value, vjp } from '@heddle/onnx';
import { type CausalBlock, causalBlocks } from './causal-blocks.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaParameter, parameterShape } from './lorsa-weights.ts';
import { buildNormed, NAMES, type RotaryInputs, turnBack } from './projection-graph.ts';
import { HANDED, patternName, rotaryInputs, rowsOf, swapped } from './sparse-graph.ts';

/**
 * Second graph of a sparse step: from U to the gradients of queries and keys. By hand as far as products over blocks go,
 * since autodiff would recompute the patterns; the norm by autodiff.
 *
 *   dA = U xᵀ    dS = A ⊙ (dA − Σ_s A dA) / attn_scale    dq = dS k    dk = dSᵀ q    dW = xᵀ d(x W + b)
 *
 *   feeds     x `[batch, pos, d_model]` · cotangent = U `[qk_head, batch, pos, d_model]` · what the first graph hands on ·
 *             rotary tables · ln_q, ln_k where there are
 *   outputs   gradient.NAME of `denseParameters`
 */
export function buildSparseBackward(config: LorsaConfig, pos: number): Graph {
  const g = new GraphBuilder('lorsa_sparse_backward');
  const { d_model, n_qk_heads, d_qk_head } = config;
  const x = g.input('x', 'f32', ['batch', pos, d_model]);
  const U = g.input('cotangent', 'f32', [n_qk_heads, 'batch', pos, d_model]);
  const heads = (name: string) => g.input(name, 'f32', [n_qk_heads, 'batch', pos, d_qk_head]);
  const [q, k] = [heads(HANDED.q), heads(HANDED.k)];
  const rotary = rotaryInputs(g, config, pos);
  const { d_q, d_k } = throughPatterns(g, config, pos, { x, U, q, k });
  const rows = g.reshape(x, [-1, d_model]);
  for (const [side, d_heads] of [
    ['q', d_q],
    ['k', d_k],
  ] as const) {
    g.scope(`d_${side}`, () => throughProjection(g, config, { side, d_heads, rows, rotary }));
  }
  return g.build();
}

interface PatternInputs {
  readonly x: Value;
  readonly U: Value;
  readonly q: Value;
  readonly k: Value;
}

/** dq and dk, `[qk_head, batch, pos, d_head]`. */
function throughPatterns(g: GraphBuilder, config: LorsaConfig, pos: number, of: PatternInputs) {
  const blocks = causalBlocks(pos);
  const slopes = blocks.map((block, index) =>
    g.scope(`block.${index}`, () => throughBlock(g, config, { ...of, ...block, index })),
  );
  const d_q = g.concat(
    slopes.map((slope) => slope.d_q),
    { axis: 2 },
  );
  // Keys of an early block are seen from all later ones: each segment of keys sums what those give it.
  const segments = blocks.map(({ start, end }, index) =>
    slopes
      .slice(index)
      .map((slope) => rowsOf(g, slope.d_k, 2, start, end))
      .reduce((a, b) => g.add(a, b)),
  );
  return { d_q, d_k: g.concat(segments, { axis: 2 }) };
}

function throughBlock(
  g: GraphBuilder,
  config: LorsaConfig,
  of: PatternInputs & CausalBlock & { readonly index: number },
) {
  const { start, end } = of;
  const shape = [config.n_qk_heads, 'batch', end - start, end];
  const A = g.input(patternName(of.index), 'f32', shape);
  const keysX = rowsOf(g, of.x, 1, 0, end);
  const d_A = g.matMul(rowsOf(g, of.U, 2, start, end), swapped(g, keysX));
  const weighted = g.mul(A, d_A);
  const mean = g.reduceSum(weighted, { axes: [-1] });
  const d_S = g.sub(weighted, g.mul(A, mean));
  const scale = 1 / config.attnScale;
  return {
    d_q: g.mul(g.matMul(d_S, rowsOf(g, of.k, 2, 0, end)), scale),
    d_k: g.mul(g.matMul(swapped(g, d_S), rowsOf(g, of.q, 2, start, end)), scale),
  };
}

interface ProjectionSlopes {
  readonly side: 'q' | 'k';
  readonly d_heads: Value;
  /** x, `[token, d_model]`. */
  readonly rows: Value;
  readonly rotary: RotaryInputs;
}

/** Gradients of W, b and the norm's gain of one side, as outputs. */
function throughProjection(g: GraphBuilder, config: LorsaConfig, of: ProjectionSlopes): void {
  const { n_qk_heads, d_qk_head, d_model } = config;
  const [W, b, gain] = NAMES[of.side];
  const emit = (name: LorsaParameter, value: Value) => g.output(`gradient.${name}`, value);
  // [qk_head, batch, pos, d_head] → [batch, pos, qk_head, d_head]
  let d_rows = g.transpose(turnBack(g, config, of.d_heads, of.rotary), [1, 2, 0, 3]);
  if (config.qkNormEps !== undefined) {
    const raw = g.input(HANDED.rows[of.side], 'f32', d_rows.shape);
    const weight = g.input(gain, 'f32', parameterShape(config, gain));
    const normed = buildNormed(g, config, { [gain]: weight }, { rows: raw, side: of.side });
    const slopes = vjp(g, [normed], [d_rows], [raw, weight]);
    d_rows = slopes[0];
    emit(gain, slopes[1]);
  }
  const flat = g.reshape(d_rows, [-1, n_qk_heads * d_qk_head]);
  const product = g.gemm(of.rows, flat, { transA: true }); // [d_model, qk_head · d_head]
  emit(W, g.transpose(g.reshape(product, [d_model, n_qk_heads, d_qk_head]), [1, 0, 2]));
  emit(b, g.reshape(g.reduceSum(flat, { axes: [0] }), [n_qk_heads, d_qk_head]));
}
