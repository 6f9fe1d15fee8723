import type { TaskContext } from '@heddle/actor';
import { failedPrecondition } from '@heddle/core';
import type { LorsaLayer, MeanNorms } from '@heddle/interp/lorsa';
import type { Blobs } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import type { ActivationSource } from '../activation-source.ts';
import { LayerShards } from '../layer-shards.ts';
import type { DataRequest } from '../train-request.ts';
import { CHECK_CONTEXT, CHECK_TOKENS_LEAST } from './limits.ts';

/** One sequence of a host's layer without padding, in the host's units. */
export interface SampleSequence {
  /** `[1, pos, d_model]`. */
  readonly x: Tensor<'f64'>;
  readonly y: Tensor<'f64'>;
  /** Zero for special tokens. */
  readonly valid: Uint8Array;
}

export interface HostSample {
  readonly sequences: readonly SampleSequence[];
  /** Tokens that count. */
  readonly tokens: number;
  /** The host's own mean norms over these tokens. */
  readonly norms: MeanNorms;
  /** Of the cached activations that they are from. */
  readonly digest: string;
}

export interface SampleDeps {
  readonly activations: ActivationSource;
  readonly blobs: Blobs;
}

export interface SampleQuestion {
  readonly model: string;
  readonly layer: Pick<LorsaLayer, 'hookIn' | 'hookOut' | 'config'>;
  readonly data: DataRequest;
  readonly tokens: number;
}

/** Some real tokens through the host: what a checkpoint's layer reads and what it should write. */
export async function hostSample(
  { activations, blobs }: SampleDeps,
  context: Pick<TaskContext, 'signal' | 'progress'>,
  { model, layer, data, tokens }: SampleQuestion,
): Promise<HostSample> {
  const { signal } = context;
  const question = {
    model,
    hooks: [layer.hookIn, layer.hookOut],
    data: { ...data, tokens_max: Math.min(data.tokens_max || tokens, tokens) },
    context: Math.min(CHECK_CONTEXT, layer.config.n_ctx),
  };
  const pass = await activations.start(question, signal);
  const onProgress = (progress: { done: number; total: number; unit: string }) =>
    context.progress({ ...progress, message: 'running the host on the text of the check' });
  const { hooks } = question;
  const { digest } = await activations.finished(pass, { signal, hooks, onProgress });
  const shards = await LayerShards.open(blobs, digest, layer);
  const sequences: SampleSequence[] = [];
  let count = 0;
  for (const shard of [...shards.train, ...shards.heldOut]) {
    if (count >= tokens) break;
    const loaded = await shards.read(shard);
    for (let b = 0; b < shard.sequences && count < tokens; b++) {
      const length = Math.min(loaded.length.data[b] ?? 0, layer.config.n_ctx);
      if (length < 2) continue; // nothing to attend to
      const sequence = cut(loaded, b, length);
      sequences.push(sequence);
      count += sequence.valid.reduce((sum, v) => sum + v, 0);
    }
  }
  if (count < CHECK_TOKENS_LEAST) {
    throw failedPrecondition(
      `the text of the check has ${count} tokens that count; at least ${CHECK_TOKENS_LEAST} are needed`,
      { field: 'data', details: { tokens: count, limit: CHECK_TOKENS_LEAST } },
    );
  }
  return { sequences, tokens: count, norms: meanNorms(sequences), digest };
}

function cut(
  loaded: { readonly x: Tensor<'f32'>; readonly y: Tensor<'f32'>; readonly valid: Tensor<'u8'> },
  b: number,
  length: number,
): SampleSequence {
  const [, pos = 0, d_model = 0] = loaded.x.shape;
  const rows = ({ data }: Tensor<'f32'>) => {
    const from = b * pos * d_model;
    const own = Float64Array.from(data.subarray(from, from + length * d_model));
    return tensor('f64', [1, length, d_model], own);
  };
  const valid = loaded.valid.data.slice(b * pos, b * pos + length);
  return { x: rows(loaded.x), y: rows(loaded.y), valid };
}

/** Mean norms of input and target over the tokens that count. */
export function meanNorms(sequences: readonly SampleSequence[]): MeanNorms {
  const mean = (side: 'x' | 'y') => {
    let sum = 0;
    let count = 0;
    for (const sequence of sequences) {
      const { shape, data } = sequence[side];
      const d_model = shape[2] ?? 0;
      sequence.valid.forEach((counts, t) => {
        if (counts === 0) return;
        const row = data.subarray(t * d_model, (t + 1) * d_model);
        sum += Math.sqrt(row.reduce((square, value) => square + value * value, 0));
        count++;
      });
    }
    return sum / count;
  };
  return { input: mean('x'), output: mean('y') };
}
