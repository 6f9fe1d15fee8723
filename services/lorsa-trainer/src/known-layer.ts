import { Rng } from '@heddle/core';
import { type LorsaConfig, type LorsaWeights, lorsaForward } from '@heddle/interp/lorsa';
import { lowRankSvd, matrix } from '@heddle/linalg';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import type { FixedOptions } from './fixed-activations.ts';
import type { HostLayer } from './host-layer.ts';

/** A layer whose units are known, for tests: what a training on it should find. */
export interface KnownLayer {
  readonly host: HostLayer;
  readonly values: FixedOptions['values'];
  /** What each unit writes, `[d_model]` of length 1. */
  readonly writes: readonly Float64Array[];
  /** The layer's own singular directions: right singular vectors of each head's W_V W_O. */
  readonly singular: readonly Float64Array[];
  /** Mean over heads and queries of the largest attention, on some text. */
  meanLargestAttention(sequences: readonly (readonly number[])[]): number;
}

export interface KnownLayerOptions {
  readonly seed: number;
  /** Directions that tokens are sums of; orthonormal up to d_model of them. */
  readonly features: number;
  /** Deviation of the query and key weights: 2.5 puts 0.92 of a head's attention on one token, 0.7 spreads it. */
  readonly sharpness: number;
}

const D_MODEL = 64;
const HEADS = 4;
const D_HEAD = 16;
const UNITS = HEADS * D_HEAD;
const ACTIVE_MAX = 4;
/** Tokens of a sequence. */
export const KNOWN_POS = 48;

/**
 * The synthetic layer of methods, part 5 d: 4 heads of 16 hold 64 units, each reading one feature and writing a random
 * direction; tokens are sums of at most 4 features of strength 0.5 to 1.5. Inside each head the units are rotated, so
 * that the dense weights do not show them. A token's id is the seed of its features.
 */
export function knownLayer({ seed, features: count, sharpness }: KnownLayerOptions): KnownLayer {
  const rng = new Rng(seed);
  const features =
    count <= D_MODEL ? orthonormal(rng, count, D_MODEL) : unitVectors(rng, count, D_MODEL);
  const writes = unitVectors(rng, UNITS, D_MODEL);
  const attention = {
    W_Q: normal(rng, sharpness),
    W_K: normal(rng, sharpness),
    ...rotatedUnits(rng, features, writes),
  };
  const host: HostLayer = {
    modelDigest: `known-${seed}-${count}-${sharpness}`,
    layer: 0,
    d_model: D_MODEL,
    d_head: D_HEAD,
    n_heads: HEADS,
    n_ctx: KNOWN_POS,
    n_layers: 1,
    attnScale: Math.sqrt(D_HEAD),
    rotary: undefined,
    qkNormEps: undefined,
    attention,
    hookIn: 'blocks.0.ln1.hook_normalized',
    hookOut: 'blocks.0.hook_attn_out',
  };
  const { config, weights } = asSignedUnits(host);
  const inputs = (ids: readonly number[]) => inputOf(ids, features);
  return {
    host,
    writes,
    singular: singularDirections(host),
    values: (ids) => {
      const x = inputs(ids);
      const { reconstruction } = lorsaForward(config, weights, x);
      const y = tensor('f32', x.shape, Float32Array.from(reconstruction.data));
      return { [host.hookIn]: x, [host.hookOut]: y };
    },
    meanLargestAttention: (sequences) => {
      const largest = sequences.flatMap((ids) => {
        const { pattern } = lorsaForward(config, weights, inputs(ids));
        return rowMaxima(pattern.data, ids.length);
      });
      return largest.reduce((sum, value) => sum + value, 0) / largest.length;
    },
  };
}

function normal(rng: Rng, deviation: number): Tensor<'f32'> {
  const t = zeros('f32', [HEADS, D_MODEL, D_HEAD]);
  for (let i = 0; i < t.data.length; i++) t.data[i] = deviation * rng.normal();
  return t;
}

/** W_V and W_O of heads that each hold 16 units behind a random rotation. */
function rotatedUnits(
  rng: Rng,
  features: readonly Float64Array[],
  writes: readonly Float64Array[],
) {
  const W_V = zeros('f32', [HEADS, D_MODEL, D_HEAD]);
  const W_O = zeros('f32', [HEADS, D_HEAD, D_MODEL]);
  for (let h = 0; h < HEADS; h++) {
    orthonormal(rng, D_HEAD, D_HEAD).forEach((turn, j) => {
      const [feature, write] = [features[h * D_HEAD + j], writes[h * D_HEAD + j]];
      turn.forEach((share, c) => {
        for (let d = 0; d < D_MODEL; d++) {
          W_V.data[(h * D_MODEL + d) * D_HEAD + c]! += share * (feature?.[d] ?? 0);
          W_O.data[(h * D_HEAD + c) * D_MODEL + d]! += share * (write?.[d] ?? 0);
        }
      });
    });
  }
  return { W_V, W_O };
}

function inputOf(ids: readonly number[], features: readonly Float64Array[]): Tensor<'f32'> {
  const x = zeros('f32', [ids.length, D_MODEL]);
  ids.forEach((id, t) => {
    const rng = new Rng(id);
    for (let n = 1 + rng.below(ACTIVE_MAX); n > 0; n--) {
      const feature = features[rng.below(features.length)];
      const strength = 0.5 + rng.uniform();
      feature?.forEach((value, d) => {
        x.data[t * D_MODEL + d]! += strength * value;
      });
    }
  });
  return x;
}

/** The dense layer as a Lorsa layer of signed units, one per head dimension, all active (methods 1.14.7). */
function asSignedUnits(host: HostLayer): { config: LorsaConfig; weights: LorsaWeights } {
  const { W_Q, W_K, W_V, W_O } = host.attention;
  const read = zeros('f32', [UNITS, D_MODEL]);
  for (let i = 0; i < UNITS; i++) {
    for (let d = 0; d < D_MODEL; d++) {
      const at = (Math.floor(i / D_HEAD) * D_MODEL + d) * D_HEAD + (i % D_HEAD);
      read.data[i * D_MODEL + d] = W_V.data[at] ?? 0;
    }
  }
  const none = zeros('f32', [HEADS, D_HEAD]);
  return {
    config: {
      d_model: D_MODEL,
      n_ov_heads: UNITS,
      n_qk_heads: HEADS,
      d_qk_head: D_HEAD,
      n_ctx: KNOWN_POS,
      activation: 'topk',
      topK: UNITS,
      signed: true,
      decoderNormInGate: false,
      useDecoderBias: true,
      attnScale: host.attnScale,
      rotary: undefined,
      qkNormEps: undefined,
    },
    weights: {
      W_Q,
      W_K,
      b_Q: none,
      b_K: none,
      W_V: read,
      b_V: zeros('f32', [UNITS]),
      W_O: tensor('f32', [UNITS, D_MODEL], Float32Array.from(W_O.data)),
      b_D: zeros('f32', [D_MODEL]),
    },
  };
}

function singularDirections({ attention: { W_V, W_O } }: HostLayer): Float64Array[] {
  return Array.from({ length: HEADS }, (_, h) => {
    const of = (t: Tensor, at: (d: number, c: number) => number) =>
      matrix(
        D_MODEL,
        D_HEAD,
        Float64Array.from({ length: D_MODEL * D_HEAD }, (_, i) =>
          Number(t.data[h * D_MODEL * D_HEAD + at(Math.floor(i / D_HEAD), i % D_HEAD)]),
        ),
      );
    const read = of(W_V, (d, c) => d * D_HEAD + c);
    const write = of(W_O, (d, c) => c * D_MODEL + d);
    const { V } = lowRankSvd(read, write);
    return Array.from({ length: D_HEAD }, (_, j) =>
      Float64Array.from({ length: D_MODEL }, (_, d) => V.data[d * D_HEAD + j] ?? 0),
    );
  }).flat();
}

function rowMaxima(pattern: Float64Array, pos: number): number[] {
  return Array.from({ length: pattern.length / pos }, (_, row) =>
    pattern.subarray(row * pos, (row + 1) * pos).reduce((a, b) => Math.max(a, b), 0),
  );
}

/** Independent directions of length 1. */
export const unitVectors = (rng: Rng, count: number, width: number): Float64Array[] =>
  Array.from({ length: count }, () => orthonormal(rng, 1, width)).flat();

/** `count` orthonormal vectors of this width, by Gram-Schmidt (twice) on normal draws. */
function orthonormal(rng: Rng, count: number, width: number): Float64Array[] {
  const found: Float64Array[] = [];
  while (found.length < count) {
    const v = Float64Array.from({ length: width }, () => rng.normal());
    for (const u of [...found, ...found]) {
      const dot = u.reduce((sum, value, i) => sum + value * (v[i] ?? 0), 0);
      v.forEach((value, i) => {
        v[i] = value - dot * (u[i] ?? 0);
      });
    }
    const norm = Math.hypot(...v);
    found.push(v.map((value) => value / norm));
  }
  return found;
}

/** Share of the true write directions that some row points along: |cos| > 0.9. */
export function recoveredShare(
  writes: readonly Float64Array[],
  rows: readonly ArrayLike<number>[],
): number {
  const along = (write: Float64Array, row: ArrayLike<number>) => {
    let dot = 0;
    let square = 0;
    write.forEach((value, d) => {
      dot += value * (row[d] ?? 0);
      square += (row[d] ?? 0) ** 2;
    });
    return Math.abs(dot) > 0.9 * Math.sqrt(square);
  };
  return writes.filter((write) => rows.some((row) => along(write, row))).length / writes.length;
}
