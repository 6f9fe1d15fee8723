import type { TaskContext } from '@heddle/actor';
import type { MeanNorms } from '@heddle/interp/lorsa';
import type { BlobDigest } from '@heddle/ports';
import type { Tokens } from './activations.ts';
import { CAPTURE_PROMPTS, SHARD_SEQUENCES } from './limits.ts';
import type { TrainingBase } from './training.ts';
import {
  checkSize,
  decodeShard,
  encodeShard,
  joined,
  normalised,
  padded,
  type Sequences,
  type SplitSequences,
  windows,
} from './training-data.ts';

/** Input and target of every sequence, as shard blobs. */
export async function capture(base: TrainingBase): Promise<readonly BlobDigest[]> {
  const { deps, context, request, settings, host } = base;
  const { signal } = context;
  const prompts = await deps.corpus(request.data);
  const tokens: Tokens[] = [];
  for (const prompt of prompts) {
    tokens.push(await deps.activations.tokenize(request.model, prompt, signal));
  }
  const sequences = windows(tokens, settings.context);
  checkSize(sequences, host.d_model);
  const pos = sequences.reduce((n, { ids }) => Math.max(n, ids.length), 0);
  const shards: BlobDigest[] = [];
  for (let from = 0; from < sequences.length; from += SHARD_SEQUENCES) {
    const batch: Sequences[] = [];
    const end = Math.min(from + SHARD_SEQUENCES, sequences.length);
    for (let at = from; at < end; at += CAPTURE_PROMPTS) {
      const part = sequences.slice(at, Math.min(at + CAPTURE_PROMPTS, end));
      const ids = part.map((sequence) => sequence.ids);
      const captured = await deps.activations.capture(request.model, host, ids, signal);
      batch.push(padded(part, captured, pos));
      context.progress({
        done: at + part.length,
        total: sequences.length,
        unit: 'sequences',
        message: 'capturing activations',
      });
      await context.pulse();
    }
    shards.push((await context.blobs.put(encodeShard(joined(batch)))).digest);
  }
  return shards;
}

/** All sequences of a training, from its shard blobs. Errors: `data_loss`, `not_found`. */
export async function readShards(
  context: TaskContext,
  shards: readonly BlobDigest[],
): Promise<Sequences> {
  const parts: Sequences[] = [];
  for (const digest of shards) parts.push(decodeShard(await context.blobs.read(digest)));
  return joined(parts);
}

/** Both parts in normalised units. */
export function scaled(all: SplitSequences, norms: MeanNorms): SplitSequences {
  return { train: normalised(all.train, norms), heldOut: normalised(all.heldOut, norms) };
}
