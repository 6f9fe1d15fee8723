import { assert, Rng, type RngState } from '@heddle/core';

/** What of a shard the order depends on. */
export interface ShardSize {
  readonly sequences: number;
  /** Input and target in memory, fp32. */
  readonly bytes: number;
}

/** Where a training stands in its data: all that its checkpoint keeps of it. */
export interface DataPlace {
  /** Sequences of this epoch that were taken. */
  readonly cursor: number;
  /** The epoch's generator as it stood before the epoch was drawn. */
  readonly epochRng: RngState;
}

/** Shards that are in memory together, and the place in the epoch where they begin to be read. */
export interface EpochGroup {
  readonly shards: readonly number[];
  readonly start: number;
  readonly sequences: number;
  readonly rng: RngState;
}

export interface Epoch {
  readonly groups: readonly EpochGroup[];
  readonly sequences: number;
  /** The generator of the next epoch. */
  readonly after: RngState;
}

/**
 * The order of one epoch: shards shuffled, cut into groups of at most `groupBytes` (one shard at least), sequences shuffled
 * inside a group. Shards that fit together are one group, so that the order is then a shuffle of all sequences.
 */
export function epochOrder(
  shards: readonly ShardSize[],
  groupBytes: number,
  state: RngState,
): Epoch {
  const rng = Rng.restore(state);
  const all = shards.map((_, index) => index);
  const bytes = shards.reduce((sum, shard) => sum + shard.bytes, 0);
  const cut = bytes <= groupBytes ? [all] : packed(shards, groupBytes, rng.shuffle(all));
  let start = 0;
  const groups = cut.map((own): EpochGroup => {
    const sequences = own.reduce((sum, index) => sum + (shards[index]?.sequences ?? 0), 0);
    const group = { shards: own, start, sequences, rng: new Rng(rng.word()).snapshot() };
    start += sequences;
    return group;
  });
  return { groups, sequences: start, after: rng.snapshot() };
}

function packed(shards: readonly ShardSize[], groupBytes: number, order: readonly number[]) {
  const groups: number[][] = [];
  let room = 0;
  for (const index of order) {
    const bytes = shards[index]?.bytes ?? 0;
    const last = groups.at(-1);
    if (last && bytes <= room) last.push(index);
    else groups.push([index]);
    room = (last && bytes <= room ? room : groupBytes) - bytes;
  }
  return groups;
}

/** Sequences of a group in the order in which they are read, as (shard, row) pairs one after the other. */
export function groupOrder(shards: readonly ShardSize[], group: EpochGroup): Uint32Array {
  const pairs = new Uint32Array(2 * group.sequences);
  let at = 0;
  for (const shard of group.shards) {
    for (let row = 0; row < (shards[shard]?.sequences ?? 0); row++) {
      pairs[at++] = shard;
      pairs[at++] = row;
    }
  }
  const rng = Rng.restore(group.rng);
  for (let i = group.sequences - 1; i > 0; i--) {
    const j = rng.below(i + 1);
    for (const half of [0, 1]) {
      const kept = pairs[2 * i + half] as number;
      pairs[2 * i + half] = pairs[2 * j + half] as number;
      pairs[2 * j + half] = kept;
    }
  }
  return pairs;
}

/** The group that holds the sequence at a cursor below the epoch's end, by index. */
export function groupAt({ groups, sequences }: Epoch, cursor: number): number {
  assert(cursor >= 0 && cursor < sequences, () => `cursor ${cursor} of ${sequences} sequences`);
  return groups.findIndex(({ start, sequences: own }) => cursor < start + own);
}
