import { present } from '@heddle/core';
import type { ActivationShard } from '@heddle/formats';
import type { ScaleFactors } from '@heddle/interp/lorsa';
import { tensor } from '@heddle/tensor';
import {
  type DataPlace,
  type Epoch,
  epochOrder,
  groupAt,
  groupOrder,
  type ShardSize,
} from './epoch-order.ts';
import type { LayerShards, LoadedShard } from './layer-shards.ts';
import type { Sequences } from './sequences.ts';

/** Some whole sequences in normalised units, and where the training stands after them. */
export interface ReadBatch {
  readonly batch: Sequences;
  readonly place: DataPlace;
}

interface LoadedGroup {
  readonly order: Uint32Array;
  readonly start: number;
  readonly shards: ReadonlyMap<number, LoadedShard>;
}

/**
 * Batches of a training from its shards. Holds the group of shards that is being read, and loads the next one meanwhile; a
 * corpus that fits is one group and read once. What comes depends on the place alone.
 */
export class BatchReader {
  private readonly source: Pick<LayerShards, 'read'>;
  private readonly shards: readonly ActivationShard[];
  private readonly sizes: readonly ShardSize[];
  private readonly groupBytes: number;
  private epoch: { readonly of: string; readonly epoch: Epoch } | undefined;
  private current: { readonly key: string; readonly group: LoadedGroup } | undefined;
  private upcoming: { readonly key: string; readonly group: Promise<LoadedGroup> } | undefined;

  constructor(source: LayerShards, shards: readonly ActivationShard[], groupBytes: number) {
    this.source = source;
    this.shards = shards;
    this.sizes = shards.map((shard) => source.size(shard));
    this.groupBytes = groupBytes;
  }

  /** The next `count` sequences. Errors: those of the blobs. */
  async next(from: DataPlace, count: number, factors: ScaleFactors): Promise<ReadBatch> {
    const taken: { readonly shard: LoadedShard; readonly row: number }[] = [];
    let place = from;
    while (taken.length < count) {
      const epoch = this.epochOf(place);
      if (place.cursor === epoch.sequences) {
        place = { cursor: 0, epochRng: epoch.after };
        continue;
      }
      const group = await this.groupOf(place, epoch);
      const length = Math.min(
        count - taken.length,
        group.start + group.order.length / 2 - place.cursor,
      );
      for (let at = place.cursor - group.start, end = at + length; at < end; at++) {
        const shard = group.shards.get(group.order[2 * at] as number);
        taken.push({
          shard: present(shard, 'a shard of the group'),
          row: group.order[2 * at + 1] as number,
        });
      }
      place = { ...place, cursor: place.cursor + length };
    }
    return { batch: batched(taken, factors), place };
  }

  /** The next `count` sequences among which a token counts: an epoch has one. */
  async nextValid(from: DataPlace, count: number, factors: ScaleFactors): Promise<ReadBatch> {
    let read = await this.next(from, count, factors);
    while (!read.batch.valid.data.includes(1)) read = await this.next(read.place, count, factors);
    return read;
  }

  private epochOf({ epochRng }: DataPlace): Epoch {
    const of = epochRng.words.join();
    if (this.epoch?.of !== of) {
      this.epoch = { of, epoch: epochOrder(this.sizes, this.groupBytes, epochRng) };
    }
    return this.epoch.epoch;
  }

  private async groupOf(place: DataPlace, epoch: Epoch): Promise<LoadedGroup> {
    const index = groupAt(epoch, place.cursor);
    const key = `${place.epochRng.words.join()} ${index}`;
    if (this.current?.key === key) return this.current.group;
    const loading =
      this.upcoming?.key === key ? this.upcoming.group : this.load(epoch, index, this.current);
    const group = await loading;
    this.current = { key, group };
    this.upcoming = undefined;
    if (index + 1 < epoch.groups.length) {
      const next = this.load(epoch, index + 1, this.current);
      next.catch(() => undefined); // told when its turn comes
      this.upcoming = { key: `${place.epochRng.words.join()} ${index + 1}`, group: next };
    }
    return group;
  }

  private async load(
    epoch: Epoch,
    index: number,
    held: BatchReader['current'],
  ): Promise<LoadedGroup> {
    const group = present(epoch.groups[index], 'a group of the epoch');
    const shards = new Map<number, LoadedShard>();
    for (const at of group.shards) {
      const shard = present(this.shards[at], 'a shard of the group');
      shards.set(at, held?.group.shards.get(at) ?? (await this.source.read(shard)));
    }
    return { order: groupOrder(this.sizes, group), start: group.start, shards };
  }
}

/** Rows side by side, cut to the longest of them, in normalised units. */
export function batched(
  rows: readonly { readonly shard: LoadedShard; readonly row: number }[],
  factors: ScaleFactors,
): Sequences {
  const pos = rows.reduce((n, { shard, row }) => Math.max(n, shard.length.data[row] ?? 0), 0);
  const d_model = rows[0]?.shard.x.shape[2] ?? 0;
  const x = new Float32Array(rows.length * pos * d_model);
  const y = new Float32Array(rows.length * pos * d_model);
  const valid = new Uint8Array(rows.length * pos);
  rows.forEach(({ shard, row }, b) => {
    const length = shard.length.data[row] ?? 0;
    const stride = shard.x.shape[1] ?? 0;
    const from = row * stride * d_model;
    const to = b * pos * d_model;
    for (let i = 0; i < length * d_model; i++) {
      x[to + i] = (shard.x.data[from + i] as number) * factors.input;
      y[to + i] = (shard.y.data[from + i] as number) * factors.output;
    }
    valid.set(shard.valid.data.subarray(row * stride, row * stride + length), b * pos);
  });
  return {
    x: tensor('f32', [rows.length, pos, d_model], x),
    y: tensor('f32', [rows.length, pos, d_model], y),
    valid: tensor('u8', [rows.length, pos], valid),
  };
}
