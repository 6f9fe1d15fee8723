import type { Dim, GraphBuilder, Value } from '@heddle/onnx';
import { tensor } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';
import type { LorsaParameter } from './lorsa-weights.ts';
import { rotaryPartner } from './rotary.ts';

/** The parameters of a layer as values of a graph. */
export type ParameterValues = Readonly<Partial<Record<LorsaParameter, Value>>>;

export function required(parameters: ParameterValues, name: LorsaParameter): Value {
  const value = parameters[name];
  if (!value) throw new TypeError(`the graph lacks parameter ${name}`);
  return value;
}

/** Cosines and sines `[pos, d_head]`; absent without rotary. */
export interface RotaryInputs {
  readonly cos: Value | undefined;
  readonly sin: Value | undefined;
}

export interface ProjectionInputs extends RotaryInputs {
  readonly x: Value;
  readonly side: 'q' | 'k';
}

/** Parameters of a side: its matrix, its bias, the gain of its norm. */
export const NAMES = { q: ['W_Q', 'b_Q', 'ln_q'], k: ['W_K', 'b_K', 'ln_k'] } as const;

/** Queries or keys of all shared heads before norm and rotary: x W + b, `[batch, pos, qk_head, d_head]`. */
export function buildRows(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  { x, side }: Pick<ProjectionInputs, 'x' | 'side'>,
): Value {
  const { n_qk_heads, d_qk_head, d_model } = config;
  const [W, b] = NAMES[side];
  const width = n_qk_heads * d_qk_head;
  // One plain GEMM for all heads: [qk_head, d_model, d_head] → [d_model, qk_head · d_head].
  const flat = g.reshape(g.transpose(required(parameters, W), [1, 0, 2]), [d_model, width]);
  const split = ['batch', x.shape[1], n_qk_heads, d_qk_head];
  // The bias after the product, not inside Gemm, which would copy it into the result first.
  return g.add(g.reshape(g.linear(x, flat), split), required(parameters, b));
}

/** RMS norm of every head's query or key with its gain, where the host has one. */
export function buildNormed(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  { rows, side }: { readonly rows: Value; readonly side: 'q' | 'k' },
): Value {
  if (config.qkNormEps === undefined) return rows;
  const gain = required(parameters, NAMES[side][2]);
  return g.rmsNormalization(rows, gain, { epsilon: config.qkNormEps });
}

/** Queries or keys as they meet in the scores, after norm and rotary: `[batch, qk_head, pos, d_head]`. */
export function buildHeads(
  g: GraphBuilder,
  config: LorsaConfig,
  parameters: ParameterValues,
  inputs: ProjectionInputs,
): Value {
  const rows = buildRows(g, config, parameters, inputs);
  const normed = buildNormed(g, config, parameters, { rows, side: inputs.side });
  return buildRotary(g, config, g.transpose(normed, [0, 2, 1, 3]), inputs);
}

/**
 * x cos + rot(x) sin on `[…, pos, d_head]`; rot is a signed permutation, applied as a matrix so that both layouts are one
 * formula.
 */
export function buildRotary(
  g: GraphBuilder,
  config: LorsaConfig,
  x: Value,
  { cos, sin }: RotaryInputs,
): Value {
  if (!cos || !sin) return x;
  return g.add(g.mul(x, cos), g.mul(g.matMul(x, turnMatrix(g, config)), sin));
}

/** The transpose of `buildRotary`, which its backward pass is: dy cos + (dy sin) rotᵀ. */
export function turnBack(
  g: GraphBuilder,
  config: LorsaConfig,
  d_y: Value,
  { cos, sin }: RotaryInputs,
): Value {
  if (!cos || !sin) return d_y;
  const back = g.transpose(turnMatrix(g, config), [1, 0]);
  return g.add(g.mul(d_y, cos), g.matMul(g.mul(d_y, sin), back));
}

/** rot as a matrix on the right, `[d_head, d_head]`. */
function turnMatrix(g: GraphBuilder, { rotary, d_qk_head }: LorsaConfig): Value {
  const data = new Float32Array(d_qk_head * d_qk_head);
  for (let c = 0; rotary && c < rotary.dim; c++) {
    const { index, sign } = rotaryPartner(rotary, c);
    data[index * d_qk_head + c] = sign;
  }
  return g.constant(tensor('f32', [d_qk_head, d_qk_head], data));
}

/** 0 where a key may be seen, −∞ after it, `[query_pos, key_pos]`; the last query sees the last key. */
export function causalMask(g: GraphBuilder, queries: Dim, keys: Dim, offset = 0): Value {
  const ones = g.cast(g.constantOfShape([queries, keys], 1), 'bool');
  return g.where(g.trilu(ones, { k: offset }), 0, Number.NEGATIVE_INFINITY);
}
