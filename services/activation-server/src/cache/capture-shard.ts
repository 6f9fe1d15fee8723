import {
  type ActivationShard,
  DOCUMENT_DIGEST_BYTES,
  encodeHookShard,
  encodeTokensShard,
  TOKENS_BLOB,
} from '@heddle/formats';
import type { HookPoint } from '@heddle/models';
import type { Blobs, LoadedModel } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import type { CheckedRun } from '../check-run.ts';
import { SHARD_SEQUENCES_MAX } from '../limits.ts';
import type { RunService } from '../run-service.ts';
import { widthOf } from './cache-request.ts';
import type { Sequence } from './read-sequences.ts';

/** As many sequences as fit one shard, in order; the one that did not is the next one's first. */
export async function takeShard(
  sequences: AsyncIterator<Sequence>,
  held: { next: Sequence | undefined },
  tokensMax: number,
): Promise<readonly Sequence[]> {
  const taken: Sequence[] = [];
  let longest = 0;
  for (;;) {
    const read = held.next ?? (await sequences.next()).value;
    const sequence = read as Sequence | undefined;
    held.next = sequence;
    if (sequence === undefined) return taken;
    const pos = Math.max(longest, sequence.ids.length);
    const full = taken.length >= SHARD_SEQUENCES_MAX || (taken.length + 1) * pos > tokensMax;
    if (taken.length > 0 && full) return taken;
    held.next = undefined;
    longest = pos;
    taken.push(sequence);
  }
}

export interface CaptureDeps {
  readonly runs: RunService;
  readonly blobs: Pick<Blobs, 'put'>;
}

export interface CaptureOptions {
  readonly model: LoadedModel;
  readonly hooks: readonly HookPoint[];
  readonly dtype: 'f32' | 'f16';
  readonly heldOut: boolean;
  readonly signal: AbortSignal;
}

/**
 * *The activations of some sequences as blobs*: the very values that a Run of these sequences with `alone` gives, so that they follow
 * from the shard alone. Errors: those of a run.
 */
export async function captureShard(
  { runs, blobs }: CaptureDeps,
  sequences: readonly Sequence[],
  options: CaptureOptions,
): Promise<{ readonly shard: ActivationShard; readonly programs: readonly string[] }> {
  const { model, hooks, dtype, signal } = options;
  const pos = Math.max(...sequences.map(({ ids }) => ids.length));
  const values = hooks.map((point) => emptyValues(point, dtype, sequences.length, pos));
  let programs: readonly string[] = [];
  let row = 0;
  const waiting = { signal, caller: 'cache', patient: true };
  for await (const result of runs.run(model, runOf(sequences, options), waiting)) {
    ({ programs } = result);
    hooks.forEach((point, i) => {
      const found = result.tensors.get(point.name);
      if (found) values[i]?.data.set(found.data as never, row * pos * widthOf(point));
    });
    row++;
  }
  const kept: [string, `sha256:${string}`][] = [];
  let bytes = 0;
  const put = async (name: string, content: Uint8Array): Promise<void> => {
    const stat = await blobs.put(content);
    kept.push([name, stat.digest]);
    bytes += stat.bytes;
  };
  await put(TOKENS_BLOB, tokensBlob(sequences, pos));
  for (const [i, point] of hooks.entries()) {
    await put(point.name, encodeHookShard(values[i] as Tensor<'f32'>));
  }
  const sum = (count: (sequence: Sequence) => number): number =>
    sequences.reduce((total, sequence) => total + count(sequence), 0);
  const shard = {
    held_out: options.heldOut,
    sequences: sequences.length,
    pos,
    tokens: sum(({ ids }) => ids.length),
    valid: sum(({ valid }) => valid.filter(Boolean).length),
    documents: sum(({ first }) => Number(first)),
    bytes,
    blobs: Object.fromEntries(kept),
  };
  return { shard, programs };
}

function runOf(
  sequences: readonly Sequence[],
  { hooks, dtype }: Pick<CaptureOptions, 'hooks' | 'dtype'>,
): CheckedRun {
  return {
    prompts: sequences.map(({ ids }) => ({ id: '', tokens: ids })),
    hooks,
    positions: undefined,
    dtype,
    interventions: [],
    alone: true,
    targets: undefined,
    lossPerToken: false,
  };
}

function emptyValues(point: HookPoint, dtype: 'f32' | 'f16', batch: number, pos: number) {
  const shape = [batch, pos, ...point.shape.slice(1).map(Number)];
  const size = batch * pos * widthOf(point);
  return dtype === 'f32'
    ? tensor('f32', shape, new Float32Array(size))
    : tensor('f16', shape, new Uint16Array(size));
}

function tokensBlob(sequences: readonly Sequence[], pos: number): Uint8Array {
  const batch = sequences.length;
  const tokens = new Int32Array(batch * pos);
  const valid = new Uint8Array(batch * pos);
  const document = new Uint8Array(batch * DOCUMENT_DIGEST_BYTES);
  sequences.forEach((sequence, b) => {
    tokens.set(sequence.ids, b * pos);
    valid.set(
      sequence.valid.map((counts) => Number(counts)),
      b * pos,
    );
    document.set(sequence.document, b * DOCUMENT_DIGEST_BYTES);
  });
  const length = Int32Array.from(sequences, ({ ids }) => ids.length);
  return encodeTokensShard({
    tokens: tensor('i32', [batch, pos], tokens),
    valid: tensor('u8', [batch, pos], valid),
    length: tensor('i32', [batch], length),
    document: tensor('u8', [batch, DOCUMENT_DIGEST_BYTES], document),
  });
}
