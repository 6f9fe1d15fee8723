import { createHash } from 'node:crypto';
import type { ActivationShard } from '@heddle/formats';
import type { LayerShards } from './layer-shards.ts';
import { rowsOf } from './shard-rows.ts';
import { documentHashes } from './trained-documents.ts';

/** Which sequences of some shards a training did not see. */
export interface UnseenRows {
  /** Shards without such a sequence are left out. */
  readonly parts: readonly { readonly shard: ActivationShard; readonly rows: readonly number[] }[];
  readonly sequences: number;
  /** Tokens that count in metrics. */
  readonly tokens: number;
  readonly documents: number;
  /** Documents that the training saw. */
  readonly leftOut: number;
  /** Over the host, the hook points and every token id of the rows. */
  readonly dataDigest: string;
}

interface Choice {
  /** Documents that were trained on; undefined: nobody knows. */
  readonly trained: ReadonlySet<bigint> | undefined;
  /** About so many tokens, spread evenly; 0: all. */
  readonly most: number;
}

/** The sequences of these shards whose documents the training did not see. Reads token ids only. */
export async function unseenRows(
  shards: LayerShards,
  all: readonly ActivationShard[],
  { trained, most }: Choice,
): Promise<UnseenRows> {
  const { manifest } = shards;
  const names = [manifest.model_digest, ...shards.hookNames, manifest.context];
  const hash = createHash('sha256').update(names.join('\n'));
  const seen = new Set<bigint>();
  const left = new Set<bigint>();
  const parts: { shard: ActivationShard; rows: number[] }[] = [];
  const valid = all.reduce((sum, shard) => sum + shard.valid, 0);
  const stride = most > 0 ? Math.max(1, Math.floor(valid / most)) : 1;
  let [sequences, tokens, at] = [0, 0, 0];
  for (const shard of all) {
    const loaded = await shards.tokens(shard);
    const rows: number[] = [];
    documentHashes(loaded.document.data).forEach((document, row) => {
      if (trained?.has(document)) {
        left.add(document);
      } else if (at++ % stride === 0) {
        seen.add(document);
        rows.push(row);
      }
    });
    if (rows.length === 0) continue;
    const own = rowsOf(loaded, rows);
    for (const part of [own.tokens.data, own.length.data]) {
      hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
    }
    sequences += rows.length;
    tokens += own.valid.data.reduce((sum, v) => sum + v, 0);
    parts.push({ shard, rows });
  }
  return {
    parts,
    sequences,
    tokens,
    documents: seen.size,
    leftOut: left.size,
    dataDigest: `sha256:${hash.digest('hex')}`,
  };
}
