import { assert, type Rng } from '@heddle/core';
import { type Matrix, matrix, multiply, multiplyTransposed, qr } from '@heddle/linalg';
import type { Tensor } from '@heddle/tensor';
import type { HostAttention } from './initialise.ts';
import type { LorsaConfig } from './lorsa-config.ts';
import { type LorsaWeights, mapWeights, type Real } from './lorsa-weights.ts';

type F64 = Tensor<'f64'>;

/**
 * Level B, step 2, read side: rank-one heads drawn inside the subspace that their host head reads.
 *
 *   rows w_v = R Pᵀ (P an orthonormal basis of the columns of W_V^h, R normal), rows w_o = w_v W_V^h W_O^h, both to unit length
 *
 * The published code takes P from an SVD of x W_V W_Vᵀ over a batch and keeps as many directions as d_head: all of
 * them. A normal R does not see which basis of a subspace it is given, so the basis of the columns does the same
 * without data. Rows h·m … (h+1)·m − 1 belong to host head h (m = n_ov_heads / head), where `copyHostQK` puts its pattern.
 * Asserts that the heads divide. Needs the grouped values expanded by floor(h · kv_head / head), as `copyHostQK`.
 */
export function initialiseActiveSubspace(
  config: LorsaConfig,
  weights: LorsaWeights<F64>,
  host: HostAttention,
  rng: Rng,
): LorsaWeights<F64> {
  const { d_model, n_ov_heads } = config;
  const [heads = 1, d_head = 1] = host.W_O.shape;
  const kvHeads = host.W_V.shape[0];
  assert(n_ov_heads % heads === 0, () => `${n_ov_heads} heads, the host's ${heads} do not divide`);
  const each = n_ov_heads / heads;
  const W_V = new Float64Array(n_ov_heads * d_model);
  const W_O = new Float64Array(n_ov_heads * d_model);
  for (let h = 0; h < heads; h++) {
    const kv = Math.floor((h * kvHeads) / heads);
    const read = block(host.W_V, kv, d_model, d_head);
    const write = block(host.W_O, h, d_head, d_model);
    const { Q } = qr(read, 'W_V');
    const random = matrix(
      each,
      Q.cols,
      Float64Array.from({ length: each * Q.cols }, () => rng.normal()),
    );
    const rows = multiplyTransposed(random, Q); // [feature, d_model]
    W_V.set(unitRows(rows), h * each * d_model);
    W_O.set(unitRows(multiply(multiply(rows, read), write)), h * each * d_model);
  }
  return {
    ...weights,
    W_V: { ...weights.W_V, data: W_V },
    W_O: { ...weights.W_O, data: W_O },
  };
}

function block(t: Real, index: number, rows: number, cols: number): Matrix {
  const size = rows * cols;
  return matrix(rows, cols, Float64Array.from(t.data.subarray(index * size, (index + 1) * size)));
}

/** Rows to length 1; a zero row (a host head that writes nothing) stays. */
function unitRows({ rows, cols, data }: Matrix): Float64Array {
  const out = data.slice();
  for (let i = 0; i < rows; i++) {
    const row = out.subarray(i * cols, (i + 1) * cols);
    const norm = Math.hypot(...row);
    if (norm > 0) for (let d = 0; d < cols; d++) row[d] /= norm;
  }
  return out;
}

/**
 * Level B, step 5, optional: b_V_i −= mean over valid tokens of z̃_i, so that each head starts around zero: exact, since
 * rows of A sum to 1 and hand b_V through. Comes before the sign flip.
 *
 *   pre   [token, ov_head]
 */
export function centrePreActivations(
  weights: LorsaWeights<F64>,
  pre: Real,
  valid: ArrayLike<number | boolean>,
): LorsaWeights<F64> {
  const heads = weights.b_V.data.length;
  const sums = new Float64Array(heads);
  let tokens = 0;
  for (let t = 0; t < valid.length; t++) {
    if (!valid[t]) continue;
    tokens++;
    for (let i = 0; i < heads; i++) sums[i] += pre.data[t * heads + i];
  }
  assert(tokens > 0, 'no valid token to average');
  const data = weights.b_V.data.map((bias, i) => bias - sums[i] / tokens);
  return { ...weights, b_V: { ...weights.b_V, data } };
}

/** Heads positive on fewer tokens than this are turned round: the published code's threshold. */
const POSITIVE_SHARE_MIN = 0.2;

/**
 * Level B, step 6: (w_v, b_V, w_o) → −(w_v, b_V, w_o) for heads whose pre-activation is positive on fewer than 20 % of
 * valid tokens. What the head would write stays the same; which half of it the gate lets through changes.
 *
 *   pre   [token, ov_head]
 */
export function flipRarelyPositive(
  config: LorsaConfig,
  weights: LorsaWeights<F64>,
  pre: Real,
  valid: ArrayLike<number | boolean>,
): LorsaWeights<F64> {
  const { n_ov_heads, d_model } = config;
  const positive = new Float64Array(n_ov_heads);
  let tokens = 0;
  for (let t = 0; t < valid.length; t++) {
    if (!valid[t]) continue;
    tokens++;
    for (let i = 0; i < n_ov_heads; i++) if (pre.data[t * n_ov_heads + i] > 0) positive[i]++;
  }
  assert(tokens > 0, 'no valid token to count on');
  const sign = positive.map((count) => (count / tokens < POSITIVE_SHARE_MIN ? -1 : 1));
  return mapWeights(weights, (t, name) => {
    if (name !== 'W_V' && name !== 'W_O' && name !== 'b_V') return t;
    const width = name === 'b_V' ? 1 : d_model;
    return { ...t, data: t.data.map((value, at) => value * sign[Math.floor(at / width)]) };
  });
}

/**
 * Level B, step 3: the factor on W_O with the least loss. Scaling every write row by one factor changes no winner, so
 * ŷ = b_D + s r with r what the heads write at s = 1, and the loss is a parabola in s; its lowest point replaces the
 * published grid search. s = Σ weight (y − b_D)·r / Σ weight ‖r‖², kept within the grid's range 0.1 … 5.
 *
 *   y, written   [token, d_model]   written = r
 */
export function bestWriteScale(
  y: Real,
  written: Real,
  b_D: Real,
  valid: ArrayLike<number | boolean>,
): number {
  const d_model = b_D.data.length;
  let along = 0;
  let square = 0;
  for (let t = 0; t < valid.length; t++) {
    if (!valid[t]) continue;
    for (let d = 0; d < d_model; d++) {
      const r = written.data[t * d_model + d];
      along += (y.data[t * d_model + d] - b_D.data[d]) * r;
      square += r * r;
    }
  }
  return Math.min(5, Math.max(0.1, square > 0 ? along / square : 1));
}
