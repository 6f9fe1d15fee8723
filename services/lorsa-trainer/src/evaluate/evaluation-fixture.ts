import { createHash } from 'node:crypto';
import type { Progress, Snapshot, TaskContext } from '@heddle/actor';
import { Rng } from '@heddle/core';
import {
  copyHostQK,
  type LorsaConfig,
  type LorsaLayer,
  mapWeights,
  toF32,
  zeroWeights,
} from '@heddle/interp/lorsa';
import { type Clients, fromInline, tensorParts } from '@heddle/ports';
import type { RunRequest } from '@heddle/ports/proto/activation';
import { type Tensor, tensor } from '@heddle/tensor';
import { MemoryBlobs, silentLog, VirtualClock } from '@heddle/testkit';
import { type SyntheticLayer, syntheticLayer } from '../synthetic-layer.ts';
import type { Unseen, UnseenShard } from '../unseen.ts';

const D_MODEL = 16;
const D_HEAD = 8;
const HEADS = 2;
const TOKENS = 64;

export const dense: SyntheticLayer = syntheticLayer(5);

/** Sequences of a special token and then random ones; a few are shorter than the others. */
export function randomPrompts(count: number, seed: number): readonly (readonly number[])[] {
  return Array.from({ length: count }, (_, i) => {
    const rng = new Rng(seed + i);
    const length = i % 5 === 4 ? 9 : 16;
    return [0, ...Array.from({ length: length - 1 }, () => 1 + rng.below(TOKENS - 1))];
  });
}

/** The exact rank-one form of the dense layer (methods 1.14.7): 2 d_head signed pairs per head, of which one each fires. */
export function exactLayer(): LorsaLayer {
  const { host } = dense;
  const units = 2 * HEADS * D_HEAD;
  const config: LorsaConfig = {
    ...{ d_model: D_MODEL, n_ov_heads: units, n_qk_heads: HEADS, d_qk_head: D_HEAD, n_ctx: 32 },
    ...{ activation: 'topk', topK: units, signed: false, decoderNormInGate: true },
    ...{ useDecoderBias: true, attnScale: host.attnScale, rotary: host.rotary },
    qkNormEps: undefined,
  };
  const { W_V, W_O, b_V, b_O } = host.attention;
  const weights = copyHostQK(config, zeroWeights(config), host.attention, 1);
  for (let i = 0; i < units; i++) {
    const [h, j] = [Math.floor(i / (2 * D_HEAD)), Math.floor(i / 2) % D_HEAD];
    const sign = i % 2 === 0 ? 1 : -1;
    weights.b_V.data[i] = sign * (b_V?.data[h * D_HEAD + j] ?? 0);
    for (let d = 0; d < D_MODEL; d++) {
      const read = W_V.data[(h * D_MODEL + d) * D_HEAD + j] ?? 0;
      weights.W_V.data[i * D_MODEL + d] = sign * read;
      const write = W_O.data[(h * D_HEAD + j) * D_MODEL + d] ?? 0;
      weights.W_O.data[i * D_MODEL + d] = sign * write;
    }
  }
  weights.b_D.data.set(b_O?.data ?? []);
  return {
    config,
    weights: mapWeights(weights, toF32),
    hookIn: host.hookIn,
    hookOut: host.hookOut,
    normalisation: 'inference',
  };
}

/** A layer that writes nothing, not even a bias. */
export function silentLayer(): LorsaLayer {
  const exact = exactLayer();
  const weights = mapWeights(toF32Layer(exact), (t, name) =>
    name === 'W_O' || name === 'b_D' ? { ...t, data: new Float32Array(t.data.length) } : t,
  );
  return { ...exact, weights };
}

const toF32Layer = ({ weights }: LorsaLayer) => mapWeights(weights, toF32);

/** Unseen text as `openUnseen` gives it, shards of `size` sequences; how often each shard was read. */
export function unseenOf(
  layer: LorsaLayer,
  prompts: readonly (readonly number[])[],
  size = 7,
): Unseen & { readonly reads: number[] } {
  const reads: number[] = [];
  const documents = prompts.map((ids) =>
    createHash('sha256').update(JSON.stringify(ids)).digest().readBigUInt64BE(0),
  );
  return {
    reads,
    checkpoint: { layer, provenance: { model_digest: 'synthetic' }, digest: 'sha256:c' },
    model: 'synthetic',
    source: 'held-out',
    sequences: prompts.length,
    tokens: prompts.reduce((sum, ids) => sum + ids.length - 1, 0),
    documents: prompts.length,
    leftOut: 3,
    trainedOnKnown: true,
    dataDigest: 'sha256:d',
    references: [],
    shards: async function* (from = 0) {
      for (let at = from * size; at < prompts.length; at += size) {
        reads.push(at / size);
        yield shardOf(prompts.slice(at, at + size), documents.slice(at, at + size));
      }
    },
  };
}

function shardOf(
  prompts: readonly (readonly number[])[],
  documents: readonly bigint[],
): UnseenShard {
  const batch = prompts.length;
  const pos = Math.max(...prompts.map((ids) => ids.length));
  const x = new Float32Array(batch * pos * D_MODEL);
  const y = new Float32Array(batch * pos * D_MODEL);
  const valid = new Uint8Array(batch * pos);
  const tokens = new Int32Array(batch * pos);
  prompts.forEach((ids, b) => {
    const { [dense.host.hookIn]: input, [dense.host.hookOut]: output } = dense.values(ids);
    x.set(input?.data ?? [], b * pos * D_MODEL);
    y.set(output?.data ?? [], b * pos * D_MODEL);
    valid.set(
      Uint8Array.from(ids, (id) => (id === 0 ? 0 : 1)),
      b * pos,
    );
    tokens.set(ids, b * pos);
  });
  const shape = [batch, pos, D_MODEL];
  return {
    x: tensor('f32', shape, x),
    y: tensor('f32', shape, y),
    valid: tensor('u8', [batch, pos], valid),
    tokens,
    lengths: Int32Array.from(prompts, (ids) => ids.length),
    documents,
  };
}

/** −log p of each next token from logits y·U: the host after the layer is one matrix. */
export function lossesOf(ids: readonly number[], y: Float32Array): Float32Array {
  const rng = new Rng(99);
  const U = Float64Array.from({ length: D_MODEL * TOKENS }, () => rng.normal());
  return Float32Array.from({ length: ids.length - 1 }, (_, t) => {
    const logits = Array.from({ length: TOKENS }, (_token, id) => {
      let sum = 0;
      for (let d = 0; d < D_MODEL; d++) {
        sum += (y[t * D_MODEL + d] ?? 0) * (U[d * TOKENS + id] ?? 0);
      }
      return sum;
    });
    const all = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    return Math.log(all) - (logits[ids[t + 1] ?? 0] ?? 0);
  });
}

/** The activation server as far as an evaluation asks it; `asked`: what it was asked. */
export function fakeHost(asked: RunRequest[] = []): Pick<Clients, 'activation'> {
  async function* run(request: RunRequest) {
    asked.push(request);
    for (const [prompt, { tokens }] of request.prompts.entries()) {
      const ids = tokens?.ids ?? [];
      const y = Float32Array.from(dense.values(ids)[dense.host.hookOut]?.data ?? []);
      for (const one of request.interventions) {
        if (!one.prompts?.includes(prompt)) continue;
        const value = one.value ? (fromInline(one.value, 'value') as Tensor<'f32'>) : undefined;
        one.positions.forEach((t, row) => {
          const from = value?.data.subarray(row * D_MODEL, (row + 1) * D_MODEL);
          y.set(from ?? new Float32Array(D_MODEL), t * D_MODEL);
        });
      }
      const losses = tensor('f32', [ids.length - 1], lossesOf(ids, y));
      yield* tensorParts(losses, { name: 'loss_per_token', prompt, axes: ['pos'] });
    }
  }
  return { activation: { Run: run } } as unknown as Pick<Clients, 'activation'>;
}

/** What one run of a task stands in; what it saved outlives it. */
export class TaskWorld {
  readonly clock = new VirtualClock();
  readonly blobs = new MemoryBlobs(this.clock);
  readonly progress: Progress[] = [];
  saved: Snapshot | undefined;
  saves = 0;

  /** `stop`: whether to be told to stop, asked at every pulse. */
  context(stop: (world: TaskWorld) => boolean = () => false): TaskContext {
    const aborts = new AbortController();
    return {
      signal: aborts.signal,
      attempt: 1,
      blobs: this.blobs,
      clock: this.clock,
      log: silentLog,
      load: async () => this.saved,
      save: async (snapshot) => {
        this.saves++;
        this.saved = { ...snapshot, bytes: snapshot.bytes.slice() };
      },
      progress: (progress) => {
        this.progress.push(progress);
      },
      pulse: async () => {
        if (stop(this)) aborts.abort(new Error('killed'));
        if (aborts.signal.aborted) throw aborts.signal.reason;
      },
    };
  }
}
