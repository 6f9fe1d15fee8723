import { dataLoss, invalidArgument, resourceExhausted } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import type { MeanNorms } from '@heddle/interp/lorsa';
import { meanNorm, scaleFactors } from '@heddle/interp/lorsa';
import { type Tensor, tensor } from '@heddle/tensor';
import type { Captured, Tokens } from './activations.ts';
import { ACTIVATION_BYTES_MAX, SEQUENCES_MAX } from './limits.ts';

/** Sequences of equal length, padded on the right: x, y `[batch, pos, d_model]`, valid `[batch, pos]` 0/1. */
export interface Sequences {
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  readonly valid: Tensor<'u8'>;
}

/** Training and held-out part; the held-out part is the last tenth. */
export interface SplitSequences {
  readonly train: Sequences;
  readonly heldOut: Sequences;
}

/** Prompts cut into windows of at most `context` tokens; a window of one token has nothing to attend to and is dropped. */
export function windows(prompts: readonly Tokens[], context: number): readonly Tokens[] {
  return prompts.flatMap(({ ids, special }) => {
    const parts: Tokens[] = [];
    for (let start = 0; start < ids.length; start += context) {
      const part = ids.slice(start, start + context);
      if (part.length > 1)
        parts.push({ ids: part, special: special.slice(start, start + context) });
    }
    return parts;
  });
}

/** Enough sequences, and not more than memory holds. Errors name the field, the limit and the estimate. */
export function checkSize(sequences: readonly Tokens[], d_model: number): void {
  if (sequences.length < 2) {
    throw invalidArgument(
      `${sequences.length} sequences of two tokens or more; training needs two at least, one of them held out`,
      { field: 'data' },
    );
  }
  const longest = sequences.reduce((n, { ids }) => Math.max(n, ids.length), 0);
  const bytes = sequences.length * longest * d_model * 8;
  if (sequences.length > SEQUENCES_MAX || bytes > ACTIVATION_BYTES_MAX) {
    throw resourceExhausted(
      `activations of ${sequences.length} sequences of ${longest} tokens take ${bytes} bytes; at most ${ACTIVATION_BYTES_MAX} are kept: give less text`,
      { field: 'data', retryable: false, details: { bytes, limit: ACTIVATION_BYTES_MAX } },
    );
  }
}

/** Pads captured sequences to `pos` tokens. */
export function padded(
  tokens: readonly Tokens[],
  captured: readonly Captured[],
  pos: number,
): Sequences {
  const d_model = captured[0]?.x.shape[1] ?? 0;
  const batch = captured.length;
  const x = new Float32Array(batch * pos * d_model);
  const y = new Float32Array(batch * pos * d_model);
  const valid = new Uint8Array(batch * pos);
  captured.forEach((one, b) => {
    x.set(one.x.data, b * pos * d_model);
    y.set(one.y.data, b * pos * d_model);
    tokens[b]?.special.forEach((special, t) => {
      valid[b * pos + t] = special ? 0 : 1;
    });
  });
  return {
    x: tensor('f32', [batch, pos, d_model], x),
    y: tensor('f32', [batch, pos, d_model], y),
    valid: tensor('u8', [batch, pos], valid),
  };
}

export function encodeShard(sequences: Sequences): Uint8Array {
  return writeSafetensors({ ...sequences });
}

export function decodeShard(bytes: Uint8Array): Sequences {
  try {
    const file = readSafetensors('shard', bytes);
    const take = <D extends 'f32' | 'u8'>(name: string, dtype: D): Tensor<D> => {
      const t = file.tensor(name);
      if (t.dtype !== dtype) throw dataLoss(`${name} of a shard is ${t.dtype}`);
      return t as Tensor<D>;
    };
    return { x: take('x', 'f32'), y: take('y', 'f32'), valid: take('valid', 'u8') };
  } catch (cause) {
    throw dataLoss('a shard of activations is damaged', { cause });
  }
}

/** Shards one after the other. */
export function joined(parts: readonly Sequences[]): Sequences {
  const join = <D extends 'f32' | 'u8'>(pick: (s: Sequences) => Tensor<D>): Tensor<D> => {
    const tensors = parts.map(pick);
    const first = tensors[0];
    if (!first) throw dataLoss('a training without shards');
    const batch = tensors.reduce((n, t) => n + (t.shape[0] ?? 0), 0);
    const size = tensors.reduce((n, t) => n + t.data.length, 0);
    const data = (
      first.dtype === 'f32' ? new Float32Array(size) : new Uint8Array(size)
    ) as Float32Array;
    let at = 0;
    for (const t of tensors) {
      data.set(t.data as Float32Array, at);
      at += t.data.length;
    }
    return {
      dtype: first.dtype,
      shape: [batch, ...first.shape.slice(1)],
      data,
    } as unknown as Tensor<D>;
  };
  return { x: join((s) => s.x), y: join((s) => s.y), valid: join((s) => s.valid) };
}

/** Sequences by index, in that order. */
export function taken(all: Sequences, indices: readonly number[]): Sequences {
  const [, pos = 0, d_model = 0] = all.x.shape;
  const rows = (t: Tensor<'f32'>) => {
    const size = pos * d_model;
    const data = new Float32Array(indices.length * size);
    indices.forEach((from, to) => {
      data.set(t.data.subarray(from * size, (from + 1) * size), to * size);
    });
    return tensor('f32', [indices.length, pos, d_model], data);
  };
  const valid = new Uint8Array(indices.length * pos);
  indices.forEach((from, to) => {
    valid.set(all.valid.data.subarray(from * pos, (from + 1) * pos), to * pos);
  });
  return { x: rows(all.x), y: rows(all.y), valid: tensor('u8', [indices.length, pos], valid) };
}

/** The last tenth is held out, one sequence at least. */
export function split(all: Sequences): SplitSequences {
  const count = all.x.shape[0] ?? 0;
  const heldOut = Math.max(1, Math.floor(count / 10));
  const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);
  return {
    train: taken(all, range(0, count - heldOut)),
    heldOut: taken(all, range(count - heldOut, count)),
  };
}

/** Mean norms over valid tokens, as the normalisation is defined. */
export function measureNorms({ x, y, valid }: Sequences): MeanNorms {
  const rows = (t: Tensor<'f32'>) => {
    const d_model = t.shape[2] ?? 0;
    return tensor('f32', [t.data.length / d_model, d_model], t.data);
  };
  if (!valid.data.some((v) => v === 1)) {
    throw invalidArgument('the text has special tokens only', { field: 'data' });
  }
  return { input: meanNorm(rows(x), valid.data), output: meanNorm(rows(y), valid.data) };
}

/** x · c_in and y · c_out. */
export function normalised(sequences: Sequences, norms: MeanNorms): Sequences {
  const factors = scaleFactors(sequences.x.shape[2] ?? 0, norms);
  const times = (t: Tensor<'f32'>, factor: number) => ({
    ...t,
    data: t.data.map((value) => value * factor),
  });
  return {
    ...sequences,
    x: times(sequences.x, factors.input),
    y: times(sequences.y, factors.output),
  };
}
