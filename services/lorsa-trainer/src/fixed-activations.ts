import { createHash } from 'node:crypto';
import { assert } from '@heddle/core';
import {
  type ActivationShard,
  countShards,
  encodeHookShard,
  encodeTokensShard,
  writeActivationManifest,
} from '@heddle/formats';
import type { BlobDigest, Blobs } from '@heddle/ports';
import { type Tensor, tensor } from '@heddle/tensor';
import type { ActivationQuestion, ActivationSource } from './activation-source.ts';

export interface FixedOptions {
  readonly blobs: Blobs;
  readonly modelDigest: string;
  /** Values `[pos, d_model]` at every hook point of a sequence. */
  readonly values: (ids: readonly number[]) => Readonly<Record<string, Tensor<'f32'>>>;
  readonly special?: (id: number) => boolean;
  /** Sequences per shard. */
  readonly shardSequences?: number;
}

/** Activations that a function gives, for tests: shards as the activation server makes them, without one. Prompts are token ids. */
export class FixedActivations implements ActivationSource {
  private readonly options: FixedOptions;
  private readonly jobs = new Map<string, Promise<BlobDigest>>();

  constructor(options: FixedOptions) {
    this.options = options;
  }

  /** Passes over the text. */
  get passes(): number {
    return this.jobs.size;
  }

  async start(question: ActivationQuestion): Promise<string> {
    if (question.data.activations !== '') return question.data.activations;
    const job = JSON.stringify(question);
    if (!this.jobs.has(job)) this.jobs.set(job, this.capture(question));
    return job;
  }

  async finished(job: string) {
    const made = this.jobs.get(job);
    assert(made, () => `no pass ${job}`);
    return { job, digest: await made };
  }

  private async capture({ data, context, hooks, model }: ActivationQuestion): Promise<BlobDigest> {
    const prompts = data.prompts.map((one) => ('tokens' in one ? one.tokens : []));
    const held = Math.max(1, Math.floor(prompts.length / 10));
    const of = async (part: readonly (readonly number[])[], held_out: boolean) => {
      const size = this.options.shardSequences ?? 32;
      const shards: ActivationShard[] = [];
      const sequences = part.flatMap((ids) =>
        Array.from({ length: Math.ceil(ids.length / context) }, (_, i) => ({
          ids: ids.slice(i * context, (i + 1) * context),
          document: createHash('sha256').update(JSON.stringify(ids)).digest().subarray(0, 8),
        })),
      );
      for (let from = 0; from < sequences.length; from += size) {
        shards.push(await this.shard(sequences.slice(from, from + size), hooks, held_out));
      }
      return shards;
    };
    const train = await of(prompts.slice(0, -held), false);
    const held_out = await of(prompts.slice(-held), true);
    const values = this.options.values([0, 1]);
    const manifest = writeActivationManifest({
      format: 'heddle.activations',
      version: 1,
      model,
      model_digest: this.options.modelDigest,
      corpus: 'prompts',
      corpus_digest: `sha256:${createHash('sha256').update(JSON.stringify(data)).digest('hex')}`,
      tokenizer_digest: '',
      context,
      tokens_max: data.tokens_max,
      dtype: 'f32',
      hooks: hooks.map((name) => ({
        name,
        axes: ['d_model'],
        shape: values[name]?.shape.slice(1) ?? [],
      })),
      shards: [...train, ...held_out],
      train: countShards(train),
      held_out: countShards(held_out),
      bytes: [...train, ...held_out].reduce((sum, { bytes }) => sum + bytes, 0),
    });
    return (await this.options.blobs.put(manifest)).digest;
  }

  private async shard(
    sequences: readonly { readonly ids: readonly number[]; readonly document: Uint8Array }[],
    hooks: readonly string[],
    held_out: boolean,
  ): Promise<ActivationShard> {
    const { blobs, values, special = () => false } = this.options;
    const batch = sequences.length;
    const pos = Math.max(...sequences.map(({ ids }) => ids.length));
    const tokens = new Int32Array(batch * pos);
    const valid = new Uint8Array(batch * pos);
    const document = new Uint8Array(batch * 8);
    sequences.forEach((one, b) => {
      tokens.set(one.ids, b * pos);
      valid.set(
        one.ids.map((id) => (special(id) ? 0 : 1)),
        b * pos,
      );
      document.set(one.document, b * 8);
    });
    const length = Int32Array.from(sequences, ({ ids }) => ids.length);
    const encoded = encodeTokensShard({
      tokens: tensor('i32', [batch, pos], tokens),
      valid: tensor('u8', [batch, pos], valid),
      length: tensor('i32', [batch], length),
      document: tensor('u8', [batch, 8], document),
    });
    const digests: Record<string, BlobDigest> = { tokens: (await blobs.put(encoded)).digest };
    let bytes = encoded.length;
    const found = sequences.map(({ ids }) => values(ids));
    for (const hook of hooks) {
      const width = found[0]?.[hook]?.shape[1] ?? 0;
      const data = new Float32Array(batch * pos * width);
      found.forEach((each, b) => {
        data.set(each[hook]?.data ?? [], b * pos * width);
      });
      const shard = encodeHookShard(tensor('f32', [batch, pos, width], data));
      digests[hook] = (await blobs.put(shard)).digest;
      bytes += shard.length;
    }
    return {
      held_out,
      pos,
      bytes,
      sequences: batch,
      tokens: length.reduce((sum, n) => sum + n, 0),
      valid: valid.reduce((sum, n) => sum + n, 0),
      documents: new Set(sequences.map((one) => one.document.toString())).size,
      blobs: digests,
    };
  }
}
