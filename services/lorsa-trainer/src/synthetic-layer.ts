import { Rng } from '@heddle/core';
import { type LorsaConfig, type LorsaWeights, lorsaForward } from '@heddle/interp/lorsa';
import type { Blobs } from '@heddle/ports';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import { FixedActivations } from './fixed-activations.ts';
import type { HostLayer } from './host-layer.ts';

/** A small dense attention layer without a model around it, for tests: 2 heads of 8, d_model 16, rotary. */
export interface SyntheticLayer {
  readonly host: HostLayer;
  /** Input and target of a sequence, under the names of the hook points. */
  readonly values: (ids: readonly number[]) => Readonly<Record<string, Tensor<'f32'>>>;
  /** Passes over prompts of token ids. */
  readonly activations: (blobs: Blobs, shardSequences?: number) => FixedActivations;
}

const D_MODEL = 16;
const D_HEAD = 8;
const HEADS = 2;
const TOKENS = 64;

/**
 * Tokens stand for sparse sums of orthonormal-ish directions; the target is the dense layer's own output, with biases,
 * computed as the exact signed rank-one decomposition (methods 1.14.7). Token 0 is special.
 */
export function syntheticLayer(seed: number): SyntheticLayer {
  const rng = new Rng(seed);
  const draw = (scale: number, ...shape: number[]) => {
    const t = zeros('f32', shape);
    for (let i = 0; i < t.data.length; i++) t.data[i] = rng.normal() * scale;
    return t;
  };
  const attention = {
    W_Q: draw(0.6, HEADS, D_MODEL, D_HEAD),
    W_K: draw(0.6, HEADS, D_MODEL, D_HEAD),
    W_V: draw(0.3, HEADS, D_MODEL, D_HEAD),
    W_O: draw(0.3, HEADS, D_HEAD, D_MODEL),
    b_Q: draw(0.3, HEADS, D_HEAD),
    b_K: draw(0.3, HEADS, D_HEAD),
    b_V: draw(0.1, HEADS, D_HEAD),
    b_O: draw(0.1, D_MODEL),
  };
  const rotary = { dim: D_HEAD, base: 10000, layout: 'half' } as const;
  const host: HostLayer = {
    modelDigest: `synthetic-${seed}`,
    layer: 0,
    d_model: D_MODEL,
    d_head: D_HEAD,
    n_heads: HEADS,
    n_ctx: 32,
    n_layers: 1,
    attnScale: Math.sqrt(D_HEAD),
    rotary,
    qkNormEps: undefined,
    attention,
    hookIn: 'blocks.0.ln1.hook_normalized',
    hookOut: 'blocks.0.hook_attn_out',
  };
  const embeddings = draw(1, TOKENS, D_MODEL);
  const values = valuesOf(host, embeddings);
  return {
    host,
    values,
    activations: (blobs, shardSequences = 32) =>
      new FixedActivations({
        blobs,
        values,
        shardSequences,
        modelDigest: host.modelDigest,
        special: (id) => id === 0,
      }),
  };
}

function valuesOf(host: HostLayer, embeddings: Tensor<'f32'>): SyntheticLayer['values'] {
  const { config, weights } = denseAsUnits(host);
  return (ids) => {
    const x = zeros('f32', [ids.length, D_MODEL]);
    ids.forEach((id, t) => {
      x.data.set(embeddings.data.subarray(id * D_MODEL, (id + 1) * D_MODEL), t * D_MODEL);
    });
    const { reconstruction } = lorsaForward(config, weights, x);
    const y = tensor('f32', reconstruction.shape, Float32Array.from(reconstruction.data));
    return { [host.hookIn]: x, [host.hookOut]: y };
  };
}

/** Σ_j (x W_V[:, j]) W_O[j, :] per head: d_head signed rank-one units each, all of them active. */
function denseAsUnits(host: HostLayer): { config: LorsaConfig; weights: LorsaWeights } {
  const units = HEADS * D_HEAD;
  const { W_Q, W_K, W_V, W_O, b_Q, b_K, b_V, b_O } = host.attention;
  const config: LorsaConfig = {
    d_model: D_MODEL,
    n_ov_heads: units,
    n_qk_heads: HEADS,
    d_qk_head: D_HEAD,
    n_ctx: host.n_ctx,
    activation: 'topk',
    topK: units,
    signed: true,
    decoderNormInGate: false,
    useDecoderBias: true,
    attnScale: host.attnScale,
    rotary: host.rotary,
    qkNormEps: undefined,
  };
  const read = zeros('f32', [units, D_MODEL]);
  for (let i = 0; i < units; i++) {
    const [h, j] = [Math.floor(i / D_HEAD), i % D_HEAD];
    for (let d = 0; d < D_MODEL; d++) {
      read.data[i * D_MODEL + d] = W_V.data[(h * D_MODEL + d) * D_HEAD + j] ?? 0;
    }
  }
  const none = (...shape: number[]) => zeros('f32', shape);
  return {
    config,
    weights: {
      W_Q,
      W_K,
      b_Q: b_Q ?? none(HEADS, D_HEAD),
      b_K: b_K ?? none(HEADS, D_HEAD),
      W_V: read,
      b_V: tensor('f32', [units], Float32Array.from(b_V?.data ?? none(units).data)),
      W_O: tensor('f32', [units, D_MODEL], Float32Array.from(W_O.data)),
      b_D: b_O ?? none(D_MODEL),
    },
  };
}
