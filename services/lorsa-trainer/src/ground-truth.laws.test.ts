import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { Rng } from '@heddle/core';
import { readSafetensors } from '@heddle/formats';
import { lorsaForward } from '@heddle/interp/lorsa';
import { type BlobDigest, decodeOutcome } from '@heddle/ports';
import { type Tensor, tensor, zeros } from '@heddle/tensor';
import { CountingMetrics, MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { FixedActivations, type FixedOptions } from './fixed-activations.ts';
import type { HostLayer } from './host-layer.ts';
import { LORSA_METRICS } from './metrics.ts';
import { trainKind } from './train-job.ts';
import { asJson } from './train-request.ts';
import { noKernels, trainRequest } from './training-fixture.ts';

/**
 * A layer whose truth is known (methods, part 5 d): 4 heads of 16 mix 64 units, each of which reads one of 64 orthonormal
 * features and writes a random direction; tokens are sums of at most 4 features. Inside each head the units are rotated,
 * so that the dense weights do not show them.
 */
const D_MODEL = 64;
const HEADS = 4;
const D_HEAD = 16;
const POS = 48;

interface Truth {
  readonly host: HostLayer;
  readonly values: FixedOptions['values'];
  /** Unit write directions, `[feature, d_model]`. */
  readonly writes: readonly Float64Array[];
}

/** `count` orthonormal vectors of this width, by Gram-Schmidt on normal draws. */
function orthonormal(rng: Rng, count: number, width: number): Float64Array[] {
  const found: Float64Array[] = [];
  while (found.length < count) {
    const v = Float64Array.from({ length: width }, () => rng.normal());
    for (const u of [...found, ...found]) {
      const dot = u.reduce((sum, value, i) => sum + value * (v[i] as number), 0);
      v.forEach((value, i) => {
        v[i] = value - dot * (u[i] as number);
      });
    }
    const norm = Math.hypot(...v);
    found.push(v.map((value) => value / norm));
  }
  return found;
}

function makeTruth(seed: number): Truth {
  const rng = new Rng(seed);
  const features = orthonormal(rng, D_MODEL, D_MODEL);
  const writes = Array.from(
    { length: D_MODEL },
    () => orthonormal(rng, 1, D_MODEL)[0] as Float64Array,
  );
  const W = {
    Q: sharp(rng),
    K: sharp(rng),
    V: zeros('f32', [HEADS, D_MODEL, D_HEAD]),
    O: zeros('f32', [HEADS, D_HEAD, D_MODEL]),
  };
  for (let h = 0; h < HEADS; h++) {
    const turn = orthonormal(rng, D_HEAD, D_HEAD);
    for (let c = 0; c < D_HEAD; c++) {
      for (let j = 0; j < D_HEAD; j++) {
        const share = (turn[j] as Float64Array)[c] as number;
        const unit = h * D_HEAD + j;
        for (let d = 0; d < D_MODEL; d++) {
          W.V.data[(h * D_MODEL + d) * D_HEAD + c]! += share * (features[unit] as Float64Array)[d]!;
          W.O.data[(h * D_HEAD + c) * D_MODEL + d]! += share * (writes[unit] as Float64Array)[d]!;
        }
      }
    }
  }
  const host: HostLayer = {
    modelDigest: `truth-${seed}`,
    layer: 0,
    d_model: D_MODEL,
    d_head: D_HEAD,
    n_heads: HEADS,
    n_ctx: POS,
    n_layers: 1,
    attnScale: 4,
    rotary: undefined,
    qkNormEps: undefined,
    attention: { W_Q: W.Q, W_K: W.K, W_V: W.V, W_O: W.O },
    hookIn: 'blocks.0.ln1.hook_normalized',
    hookOut: 'blocks.0.hook_attn_out',
  };
  return { host, values: valuesOf(host, features), writes };
}

/** Queries and keys large enough that most of a head's attention goes to one token. */
function sharp(rng: Rng): Tensor<'f32'> {
  const t = zeros('f32', [HEADS, D_MODEL, D_HEAD]);
  for (let i = 0; i < t.data.length; i++) t.data[i] = 1.5 * rng.normal();
  return t;
}

/** A token's id is the seed of its features. The target is the dense layer, as its signed rank-one units (1.14.7). */
function valuesOf(host: HostLayer, features: readonly Float64Array[]): FixedOptions['values'] {
  const units = HEADS * D_HEAD;
  const { W_Q, W_K, W_V, W_O } = host.attention;
  const read = zeros('f32', [units, D_MODEL]);
  for (let i = 0; i < units; i++) {
    for (let d = 0; d < D_MODEL; d++) {
      const at = (Math.floor(i / D_HEAD) * D_MODEL + d) * D_HEAD + (i % D_HEAD);
      read.data[i * D_MODEL + d] = W_V.data[at] as number;
    }
  }
  const dense = {
    d_model: D_MODEL,
    n_ov_heads: units,
    n_qk_heads: HEADS,
    d_qk_head: D_HEAD,
    n_ctx: POS,
    activation: 'topk' as const,
    topK: units,
    signed: true,
    decoderNormInGate: false,
    useDecoderBias: true,
    attnScale: host.attnScale,
    rotary: undefined,
    qkNormEps: undefined,
  };
  const none = zeros('f32', [HEADS, D_HEAD]);
  const weights = {
    W_Q,
    W_K,
    b_Q: none,
    b_K: none,
    W_V: read,
    b_V: zeros('f32', [units]),
    W_O: tensor('f32', [units, D_MODEL], W_O.data as Float32Array),
    b_D: zeros('f32', [D_MODEL]),
  };
  return (ids) => {
    const x = zeros('f32', [ids.length, D_MODEL]);
    ids.forEach((id, t) => {
      const rng = new Rng(id);
      for (let n = 1 + rng.below(4); n > 0; n--) {
        const feature = features[rng.below(D_MODEL)] as Float64Array;
        const strength = 0.5 + rng.uniform();
        feature.forEach((value, d) => {
          x.data[t * D_MODEL + d]! += strength * value;
        });
      }
    });
    const { reconstruction } = lorsaForward(dense, weights, x);
    const y = tensor('f32', x.shape, Float32Array.from(reconstruction.data));
    return { [host.hookIn]: x, [host.hookOut]: y };
  };
}

/** Share of the true write directions that some row points along, |cos| > 0.9. */
function recovered(writes: readonly Float64Array[], rows: ArrayLike<number>): number {
  const found = writes.filter((write) => {
    for (let row = 0; row < rows.length; row += D_MODEL) {
      let dot = 0;
      let square = 0;
      for (let d = 0; d < D_MODEL; d++) {
        dot += (write[d] as number) * (rows[row + d] as number);
        square += (rows[row + d] as number) ** 2;
      }
      if (Math.abs(dot) > 0.9 * Math.sqrt(square)) return true;
    }
    return false;
  });
  return found.length / writes.length;
}

test('the units that dense heads mix are found, and neither random nor the dense directions are them', async () => {
  const { host, values, writes } = makeTruth(1);
  const clock = new VirtualClock();
  const blobs = new MemoryBlobs(clock);
  const metrics = new CountingMetrics();
  metrics.register(LORSA_METRICS);
  const engine = await OrtEngine.start({ threads: 1 });
  const kind = trainKind({
    engine,
    kernels: noKernels,
    activations: new FixedActivations({ blobs, values, modelDigest: host.modelDigest }),
    metrics,
    versions: {},
    host: async () => host,
    sizes: async () => host,
  });
  const request = trainRequest({
    architecture: { n_ov_heads: 128, n_qk_heads: 4, d_qk_head: 16, top_k: 8 },
    optimiser: { steps: 600, batch: 16, context: POS, learning_rate: 2e-3, warmup_steps: 20 },
    data: {
      prompts: Array.from({ length: 700 }, (_, i) => ({
        tokens: Array.from({ length: POS }, (_, t) => i * POS + t),
      })),
    },
    backend: 'graph',
    seed: 1,
    checkpoint_steps: 1000,
  });
  const context = {
    signal: new AbortController().signal,
    attempt: 1,
    blobs,
    clock,
    log: silentLog,
    load: async () => undefined,
    save: async () => {},
    progress: () => {},
    pulse: async () => {},
  };
  const task = { job: 'j', index: 0, count: 1, request: asJson(request), input: null };
  const output = await kind.run(task, context).finally(() => engine.close());
  const { summary, artifacts } = decodeOutcome(output.bytes as Uint8Array);
  const file = readSafetensors('x', await blobs.read(artifacts[0]?.digest as BlobDigest));

  const share = recovered(writes, file.tensor('W_O').data as Float32Array);
  const random = Float32Array.from(
    { length: 128 * D_MODEL },
    (() => {
      const rng = new Rng(2);
      return () => rng.normal();
    })(),
  );
  assert.ok((summary['fvu'] as number) < 0.02, `FVU ${summary['fvu']}`);
  assert.ok(share >= 0.9, `recovered ${share}`);
  assert.ok(recovered(writes, random) < 0.05);
  assert.ok(recovered(writes, host.attention.W_O.data) < 0.05);
});
