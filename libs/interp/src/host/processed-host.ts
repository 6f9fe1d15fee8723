import { assert } from '@heddle/core';
import { type Matrix, matrix, rowTimes } from '@heddle/linalg';
import type { Affine, HostLayerWeights, HostShape, HostWeights } from './host-weights.ts';

/** Attention of one block after folding: reads the normalised residual, writes the centred one. */
export interface ProcessedLayer {
  readonly W_Q: readonly Matrix[];
  readonly b_Q: readonly Float64Array[];
  readonly W_K: readonly Matrix[];
  readonly b_K: readonly Float64Array[];
  /** What the captured values still contain, and `b_O` already has. Per kv_head. */
  readonly b_V: readonly Float64Array[];
  readonly W_O: readonly Matrix[];
  /** With the value biases of all heads folded in. */
  readonly b_O: Float64Array;
  /**
   * Queries and keys before the gain of their norm, which is folded into W_Q and W_K; null without
   * such a norm.
   */
  readonly beforeNorm: BeforeNorm | null;
  readonly attnScale: number;
}

export interface BeforeNorm {
  readonly W_Q: readonly Matrix[];
  readonly b_Q: readonly Float64Array[];
  readonly W_K: readonly Matrix[];
  readonly b_K: readonly Float64Array[];
}

/**
 * *A model's weights after TransformerLens' processing*, which leaves its output as it was: LN
 * gains and biases folded into what reads them; for LayerNorm models reading weights centred over
 * d_model (the norm's output sums to zero) and writing weights centred too, so that the residual
 * stream has mean zero and `x = r / scale` is exactly linear in the parts of r; value biases folded
 * into b_O (pattern rows sum to 1). RMSNorm models are not centred. The gain of a query/key norm is
 * folded into W_Q and W_K, its scale is left to the activations. Without this the singular vectors
 * of W_Q W_Kᵀ are others.
 */
export class ProcessedHost {
  readonly weights: HostWeights;
  readonly shape: HostShape;
  private readonly layers = new Map<number, ProcessedLayer>();

  constructor(weights: HostWeights) {
    this.weights = weights;
    this.shape = weights.shape;
    assert(
      this.shape.n_heads % this.shape.n_key_value_heads === 0,
      'head must be a multiple of kv_head',
    );
  }

  layer(index: number): ProcessedLayer {
    const known = this.layers.get(index);
    if (known !== undefined) return known;
    const made = processLayer(this.shape, index, this.weights.layer(index));
    this.layers.set(index, made);
    return made;
  }

  /** The kv_head that a head reads: groups of heads share one. */
  kvHead(head: number): number {
    return Math.floor(head / (this.shape.n_heads / this.shape.n_key_value_heads));
  }

  /** Minus its mean in a LayerNorm model, as it is in an RMSNorm model: a new vector. */
  centred(vector: ArrayLike<number>): Float64Array {
    return this.shape.norm === 'layer' ? centred(vector) : Float64Array.from(vector);
  }
}

function processLayer(shape: HostShape, index: number, raw: HostLayerWeights): ProcessedLayer {
  const isLayerNorm = shape.norm === 'layer';
  const q = foldedReads(raw.ln1, raw.W_Q, raw.b_Q, isLayerNorm);
  const k = foldedReads(raw.ln1, raw.W_K, raw.b_K, isLayerNorm);
  const v = foldedReads(raw.ln1, raw.W_V, raw.b_V, isLayerNorm);
  const normed = raw.qNorm !== null || raw.kNorm !== null;
  const b_O = Float64Array.from(raw.b_O ?? new Float64Array(shape.d_model));
  const group = shape.n_heads / shape.n_key_value_heads;
  raw.W_O.forEach((W_O, head) => {
    const written = rowTimes(v.biases[Math.floor(head / group)], W_O);
    for (let i = 0; i < b_O.length; i++) b_O[i] += written[i];
  });
  return {
    W_Q: q.weights.map((W) => timesGain(W, raw.qNorm)),
    b_Q: q.biases.map((b) => gained(b, raw.qNorm)),
    W_K: k.weights.map((W) => timesGain(W, raw.kNorm)),
    b_K: k.biases.map((b) => gained(b, raw.kNorm)),
    b_V: v.biases,
    W_O: isLayerNorm ? raw.W_O.map(centredRows) : raw.W_O,
    b_O: isLayerNorm ? centred(b_O) : b_O,
    beforeNorm: normed ? { W_Q: q.weights, b_Q: q.biases, W_K: k.weights, b_K: k.biases } : null,
    attnScale: shape.attnScale[index],
  };
}

/**
 * `b += beta W` with the original W, then `W = diag(gamma) W`, then for LayerNorm each column minus
 * its mean.
 */
function foldedReads(
  ln: Affine,
  weights: readonly Matrix[],
  biases: readonly Float64Array[] | null,
  centre: boolean,
): { weights: Matrix[]; biases: Float64Array[] } {
  return {
    biases: weights.map((W, head) => {
      const bias = Float64Array.from(biases?.[head] ?? new Float64Array(W.cols));
      if (ln.bias === null) return bias;
      const folded = rowTimes(ln.bias, W);
      return bias.map((value, i) => value + folded[i]);
    }),
    weights: weights.map((W) => {
      const data = W.data.map((value, i) => value * ln.gain[Math.floor(i / W.cols)]);
      return centre ? centredColumns(matrix(W.rows, W.cols, data)) : matrix(W.rows, W.cols, data);
    }),
  };
}

/** The vector minus its mean; new. */
export function centred(vector: ArrayLike<number>): Float64Array {
  let sum = 0;
  for (let i = 0; i < vector.length; i++) sum += vector[i];
  return Float64Array.from(vector, (value) => value - sum / vector.length);
}

function centredRows(W: Matrix): Matrix {
  const out = matrix(W.rows, W.cols, W.data.slice());
  for (let i = 0; i < W.rows; i++) {
    out.data.set(centred(W.data.subarray(i * W.cols, (i + 1) * W.cols)), i * W.cols);
  }
  return out;
}

function centredColumns(W: Matrix): Matrix {
  const means = new Float64Array(W.cols);
  W.data.forEach((value, i) => {
    means[i % W.cols] += value / W.rows;
  });
  return matrix(
    W.rows,
    W.cols,
    W.data.map((value, i) => value - means[i % W.cols]),
  );
}

function timesGain(W: Matrix, gain: Float64Array | null): Matrix {
  if (gain === null) return W;
  return matrix(
    W.rows,
    W.cols,
    W.data.map((value, i) => value * gain[i % W.cols]),
  );
}

function gained(bias: Float64Array, gain: Float64Array | null): Float64Array {
  return gain === null ? bias : bias.map((value, i) => value * gain[i]);
}
