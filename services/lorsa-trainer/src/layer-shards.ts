import { assert, dataLoss, invalidArgument } from '@heddle/core';
import {
  type ActivationManifest,
  type ActivationShard,
  decodeHookShard,
  decodeTokensShard,
  readActivationManifest,
  shardBlobs,
} from '@heddle/formats';
import type { BlobDigest, Blobs } from '@heddle/ports';
import { showShape, type Tensor } from '@heddle/tensor';
import type { ShardSize } from './epoch-order.ts';
import type { HostLayer } from './host-layer.ts';

export type LayerHooks = Pick<HostLayer, 'hookIn' | 'hookOut'>;

/** Whole sequences of one shard in the host's units, padded on the right. */
export type LoadedShard = {
  /** `[batch, pos, d_model]`. */
  readonly x: Tensor<'f32'>;
  readonly y: Tensor<'f32'>;
  /** `[batch, pos]`: 0 for padding and special tokens. */
  readonly valid: Tensor<'u8'>;
  readonly tokens: Tensor<'i32'>;
  /** `[batch]`: tokens without padding. */
  readonly length: Tensor<'i32'>;
  /** `[batch, 8]`: the document that each sequence was cut from. */
  readonly document: Tensor<'u8'>;
};

/** The cached activations of one layer: which shards there are, and how one is read. */
export class LayerShards {
  readonly manifest: ActivationManifest;
  /** Of the manifest's blob. */
  readonly digest: BlobDigest;
  readonly train: readonly ActivationShard[];
  readonly heldOut: readonly ActivationShard[];
  private readonly blobs: Blobs;
  private readonly hooks: LayerHooks;

  private constructor(
    blobs: Blobs,
    from: { readonly manifest: ActivationManifest; readonly digest: BlobDigest },
    hooks: LayerHooks,
  ) {
    this.blobs = blobs;
    this.manifest = from.manifest;
    this.digest = from.digest;
    this.hooks = hooks;
    this.train = this.manifest.shards.filter(({ held_out }) => !held_out);
    this.heldOut = this.manifest.shards.filter(({ held_out }) => held_out);
  }

  /** Errors: `invalid_argument` when the activations lack a hook point; `not_found` and `data_loss` of the blobs. */
  static async open(blobs: Blobs, digest: BlobDigest, hooks: LayerHooks): Promise<LayerShards> {
    const manifest = readActivationManifest(await blobs.read(digest));
    const there = new Set(manifest.hooks.map(({ name }) => name));
    for (const hook of [hooks.hookIn, hooks.hookOut]) {
      if (there.has(hook)) continue;
      throw invalidArgument(`the cached activations have no ${hook}; they have ${[...there]}`, {
        field: 'data.activations',
      });
    }
    return new LayerShards(blobs, { manifest, digest }, hooks);
  }

  get hookNames(): readonly [string, string] {
    return [this.hooks.hookIn, this.hooks.hookOut];
  }

  /** Every blob that a training on these activations reads, the manifest first. */
  references(): readonly BlobDigest[] {
    const { hookIn, hookOut } = this.hooks;
    return [this.digest, ...(shardBlobs(this.manifest, [hookIn, hookOut]) as BlobDigest[])];
  }

  /** What a shard takes in memory, and how many sequences it has. */
  size(shard: ActivationShard): ShardSize {
    const [width = 0] = this.manifest.hooks.find(({ name }) => name === this.hooks.hookIn)
      ?.shape ?? [0];
    return { sequences: shard.sequences, bytes: shard.sequences * shard.pos * width * 8 };
  }

  async read(shard: ActivationShard): Promise<LoadedShard> {
    const { hookIn, hookOut } = this.hooks;
    const [x, y, tokens] = await Promise.all([
      this.bytes(shard, hookIn).then(decodeHookShard),
      this.bytes(shard, hookOut).then(decodeHookShard),
      this.tokens(shard),
    ]);
    if (x.shape[0] !== shard.sequences || showShape(x.shape) !== showShape(y.shape)) {
      throw dataLoss(`a shard of activations is ${showShape(x.shape)} and ${showShape(y.shape)}`);
    }
    return { x, y, ...tokens };
  }

  /** Everything but the activations. */
  async tokens(shard: ActivationShard): Promise<Omit<LoadedShard, 'x' | 'y'>> {
    return decodeTokensShard(await this.bytes(shard, 'tokens'));
  }

  private bytes(shard: ActivationShard, name: string): Promise<Uint8Array> {
    const digest = shard.blobs[name];
    assert(digest, () => `a shard without ${name}`);
    return this.blobs.read(digest as BlobDigest);
  }
}

/** Bytes of training shards in memory together: all of them where two groups would fit, so that nothing is read twice. */
export function groupBytesFor(shards: LayerShards, most: number): number {
  const all = shards.train.reduce((sum, shard) => sum + shards.size(shard).bytes, 0);
  return all <= 2 * most ? 2 * most : most;
}
