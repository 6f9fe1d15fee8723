import { Rng } from '@heddle/core';
import { type Matrix, matrix, rowOf, rowTimes, zeroMatrix } from '@heddle/linalg';
import { tensor } from '@heddle/tensor';
import type { HostActivations, LayerActivations } from './host-activations.ts';
import { softmax } from './host-run.ts';
import type { Affine, HostLayerWeights, HostShape, HostWeights } from './host-weights.ts';
import { rotated } from './rotary.ts';

export const TINY_KINDS = ['gpt2', 'neox', 'gptj', 'llama', 'qwen2', 'qwen3'] as const;
export type TinyKind = (typeof TINY_KINDS)[number];

export interface TinyLayer extends HostLayerWeights {
  readonly ln2: Affine;
  readonly W_in: Matrix;
  readonly b_in: Float64Array;
  readonly W_out: Matrix;
  readonly b_out: Float64Array;
}

/**
 * A whole model, small enough for loops: what `HostWeights` shows of it, and what its forward pass
 * needs besides.
 */
export interface TinyHost extends HostWeights {
  readonly layers: readonly TinyLayer[];
  readonly W_E: Matrix;
  readonly W_pos: Matrix | null;
  readonly parallel: boolean;
  layer(index: number): TinyLayer;
}

/**
 * A seeded random model of a family's structure: 3 layers of 4 heads of 4, d_model 14, 11 words.
 */
export function tinyHost(kind: TinyKind, seed: number): TinyHost {
  const rng = new Rng(seed);
  const shape = tinyShape(kind);
  const { d_model, d_vocab, n_layers } = shape;
  const draw = (rows: number, cols: number, std: number) =>
    matrix(
      rows,
      cols,
      Float64Array.from({ length: rows * cols }, () => std * rng.normal()),
    );
  const vector = (size: number, std = 0.3, mean = 0) =>
    Float64Array.from({ length: size }, () => mean + std * rng.normal());
  const affine = (): Affine => ({
    gain: vector(d_model, 0.2, 1),
    bias: shape.norm === 'layer' ? vector(d_model) : null,
  });
  const layers = Array.from({ length: n_layers }, () => {
    const heads = <T>(count: number, make: () => T) => Array.from({ length: count }, make);
    const read = () => draw(d_model, shape.d_head, 0.45);
    const [H, KV] = [shape.n_heads, shape.n_key_value_heads];
    const attnBias = kind !== 'llama' && kind !== 'qwen3';
    const biases = (count: number) => (attnBias ? heads(count, () => vector(shape.d_head)) : null);
    return {
      ln1: affine(),
      ln2: affine(),
      W_Q: heads(H, read),
      W_K: heads(KV, read),
      W_V: heads(KV, read),
      W_O: heads(H, () => draw(shape.d_head, d_model, 0.45)),
      b_Q: biases(H),
      b_K: biases(KV),
      b_V: biases(KV),
      b_O: shape.norm === 'layer' ? vector(d_model) : null,
      qNorm: kind === 'qwen3' ? vector(shape.d_head, 0.3, 1.2) : null,
      kNorm: kind === 'qwen3' ? vector(shape.d_head, 0.3, 1.2) : null,
      W_in: draw(d_model, 2 * d_model, 0.4),
      b_in: vector(2 * d_model),
      W_out: draw(2 * d_model, d_model, 0.4),
      b_out: vector(d_model),
    };
  });
  const W_E = draw(d_vocab, d_model, 1);
  const W_pos = shape.rotary === null ? draw(16, d_model, 0.5) : null;
  const rows = draw(d_vocab, d_model, 0.6).data;
  const lnFinal = affine();
  const b_U = kind === 'gptj' ? vector(d_vocab) : null;
  return {
    shape,
    layers,
    W_E,
    W_pos,
    parallel: kind === 'neox' || kind === 'gptj',
    layer: (index) => layers[index],
    unembedding: () => ({ rows, b_U, lnFinal }),
  };
}

function tinyShape(kind: TinyKind): HostShape {
  const rms = kind === 'llama' || kind === 'qwen2' || kind === 'qwen3';
  const d_head = 4;
  const dims = kind === 'neox' ? 2 : 4;
  return {
    n_layers: 3,
    n_heads: 4,
    n_key_value_heads: rms ? 2 : 4,
    d_model: 14,
    d_head,
    d_vocab: 11,
    norm: rms ? 'rms' : 'layer',
    normEpsilon: 1e-5,
    attnScale: [2, 2, 2],
    rotary:
      kind === 'gpt2'
        ? null
        : {
            layout: kind === 'gptj' ? 'adjacent' : 'half_split',
            dims,
            amplitude: 1,
            frequencies: Float64Array.from(
              { length: dims / 2 },
              (_, i) => 100 ** ((-2 * i) / dims),
            ),
          },
  };
}

/**
 * *The forward pass in loops*, fp64, straight from the definition of each hook point; raw weights,
 * nothing folded.
 */
export function tinyForward(host: TinyHost, tokens: readonly number[]): HostActivations {
  const { shape } = host;
  const pos = tokens.length;
  const embed = zeroMatrix(pos, shape.d_model);
  const pos_embed = host.W_pos === null ? null : zeroMatrix(pos, shape.d_model);
  tokens.forEach((token, t) => {
    rowOf(embed, t).set(rowOf(host.W_E, token));
    if (pos_embed !== null && host.W_pos !== null) rowOf(pos_embed, t).set(rowOf(host.W_pos, t));
  });
  let resid = pos_embed === null ? embed : plus(embed, pos_embed);
  const layers: LayerActivations[] = [];
  host.layers.forEach((weights, index) => {
    const attention = tinyAttention(host, index, resid);
    const mid = plus(resid, attention.attn_out);
    const mlp_out = tinyMlp(host, weights, host.parallel ? resid : mid);
    layers.push({ ...attention, resid_pre: resid, mlp_out });
    resid = plus(mid, mlp_out);
  });
  const { rows, b_U, lnFinal } = host.unembedding();
  const logits = zeroMatrix(pos, shape.d_vocab);
  for (let t = 0; t < pos; t++) {
    const x = normed(rowOf(resid, t), lnFinal, shape);
    for (let token = 0; token < shape.d_vocab; token++) {
      const at = token * shape.d_model;
      let logit = b_U?.[token] ?? 0;
      for (let i = 0; i < shape.d_model; i++) logit += x[i] * rows[at + i];
      rowOf(logits, t)[token] = logit;
    }
  }
  return { tokens, embed, pos_embed, layers, resid_final: resid, logits };
}

function tinyAttention(host: TinyHost, index: number, resid: Matrix) {
  const { n_heads, n_key_value_heads, d_head, d_model, rotary, attnScale } = host.shape;
  const weights = host.layers[index];
  const pos = resid.rows;
  const x = Array.from({ length: pos }, (_, t) => normed(rowOf(resid, t), weights.ln1, host.shape));
  const project = (W: Matrix, b: Float64Array | undefined, t: number) =>
    rowTimes(x[t], W).map((value, i) => value + (b?.[i] ?? 0));
  const v = new Float64Array(pos * n_key_value_heads * d_head);
  for (let t = 0; t < pos; t++) {
    for (let kv = 0; kv < n_key_value_heads; kv++) {
      v.set(project(weights.W_V[kv], weights.b_V?.[kv], t), (t * n_key_value_heads + kv) * d_head);
    }
  }
  const scores = new Float64Array(n_heads * pos * pos).fill(Number.NEGATIVE_INFINITY);
  const pattern = new Float64Array(n_heads * pos * pos);
  const attn_out = zeroMatrix(pos, d_model);
  for (let head = 0; head < n_heads; head++) {
    const kv = Math.floor(head / (n_heads / n_key_value_heads));
    const turn = (raw: Float64Array, gain: Float64Array | null, t: number) =>
      rotated(gain === null ? raw : headNormed(raw, gain, host.shape), t, rotary);
    for (let t = 0; t < pos; t++) {
      const q = turn(project(weights.W_Q[head], weights.b_Q?.[head], t), weights.qNorm, t);
      const row = Float64Array.from({ length: t + 1 }, (_, s) => {
        const k = turn(project(weights.W_K[kv], weights.b_K?.[kv], s), weights.kNorm, s);
        return q.reduce((sum, value, i) => sum + value * k[i], 0) / attnScale[index];
      });
      scores.set(row, (head * pos + t) * pos);
      const probabilities = softmax(row);
      pattern.set(probabilities, (head * pos + t) * pos);
      const z = new Float64Array(d_head);
      probabilities.forEach((p, s) => {
        for (let i = 0; i < d_head; i++) z[i] += p * v[(s * n_key_value_heads + kv) * d_head + i];
      });
      const written = rowTimes(z, weights.W_O[head]);
      for (let i = 0; i < d_model; i++) {
        rowOf(attn_out, t)[i] += written[i] + (head === 0 ? (weights.b_O?.[i] ?? 0) : 0);
      }
    }
  }
  return {
    attn_out,
    v: tensor('f64', [pos, n_key_value_heads, d_head], v),
    pattern: tensor('f64', [n_heads, pos, pos], pattern),
    attn_scores: tensor('f64', [n_heads, pos, pos], scores),
  };
}

function tinyMlp(host: TinyHost, weights: TinyLayer, resid: Matrix): Matrix {
  const out = zeroMatrix(resid.rows, resid.cols);
  for (let t = 0; t < resid.rows; t++) {
    const pre = rowTimes(normed(rowOf(resid, t), weights.ln2, host.shape), weights.W_in);
    const post = pre.map((value, i) => Math.tanh(value + weights.b_in[i]));
    rowOf(out, t).set(rowTimes(post, weights.W_out).map((value, i) => value + weights.b_out[i]));
  }
  return out;
}

function normed(x: Float64Array, { gain, bias }: Affine, shape: HostShape): Float64Array {
  const mean = shape.norm === 'layer' ? x.reduce((a, b) => a + b) / x.length : 0;
  const square = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length;
  const scale = Math.sqrt(square + shape.normEpsilon);
  return x.map((value, i) => ((value - mean) / scale) * gain[i] + (bias?.[i] ?? 0));
}

function headNormed(x: Float64Array, gain: Float64Array, shape: HostShape): Float64Array {
  const square = x.reduce((sum, value) => sum + value * value, 0) / x.length;
  return x.map((value, i) => (value / Math.sqrt(square + shape.normEpsilon)) * gain[i]);
}

function plus(a: Matrix, b: Matrix): Matrix {
  return matrix(
    a.rows,
    a.cols,
    a.data.map((value, i) => value + b.data[i]),
  );
}
