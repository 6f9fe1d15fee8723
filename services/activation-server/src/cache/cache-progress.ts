import type { Snapshot } from '@heddle/actor';
import { dataLoss } from '@heddle/core';
import { type ActivationShard, shardBlobs } from '@heddle/formats';
import type { BlobDigest } from '@heddle/ports';
import type { Position } from './read-sequences.ts';

/** What a task has done, and from where it goes on. Its output is the same without the position. */
export interface CacheProgress {
  readonly shards: readonly ActivationShard[];
  readonly programs: readonly string[];
  readonly position: Position | undefined;
}

export const NOTHING_DONE: CacheProgress = { shards: [], programs: [], position: undefined };

/** All that must be kept with it. */
export const blobsOf = ({ shards }: Pick<CacheProgress, 'shards'>): readonly BlobDigest[] =>
  shardBlobs({ shards });

export function snapshot(progress: CacheProgress): Snapshot {
  const { shards } = progress;
  return { bytes: encodeProgress(progress), cursor: shards.length, references: blobsOf(progress) };
}

export const encodeProgress = (progress: CacheProgress): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(progress));

/** Errors: `data_loss`. */
export function decodeProgress(bytes: Uint8Array): CacheProgress {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as CacheProgress;
  } catch (cause) {
    throw dataLoss('a part of cached activations is no JSON', { cause });
  }
}
