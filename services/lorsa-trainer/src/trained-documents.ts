import { invalidArgument } from '@heddle/core';
import type { LayerShards } from './layer-shards.ts';

/** Bytes of a document's hash. */
export const DOCUMENT_BYTES = 8;

/** Hashes of the documents whose sequences were trained on, sorted, one after the other. */
export async function trainedDocuments(shards: LayerShards): Promise<Uint8Array> {
  const seen = new Set<bigint>();
  for (const shard of shards.train) {
    const { document } = await shards.tokens(shard);
    for (const hash of documentHashes(document.data)) seen.add(hash);
  }
  const sorted = BigUint64Array.from(seen).sort();
  const bytes = new Uint8Array(sorted.length * DOCUMENT_BYTES);
  const view = new DataView(bytes.buffer);
  sorted.forEach((hash, at) => {
    view.setBigUint64(at * DOCUMENT_BYTES, hash);
  });
  return bytes;
}

/** Hashes that stand one after the other, as numbers. Errors: `invalid_argument` for a cut one. */
export function documentHashes(bytes: Uint8Array): readonly bigint[] {
  if (bytes.length % DOCUMENT_BYTES !== 0) {
    throw invalidArgument(`${bytes.length} bytes are no list of document hashes`, {
      field: 'checkpoint',
    });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / DOCUMENT_BYTES }, (_, at) =>
    view.getBigUint64(at * DOCUMENT_BYTES),
  );
}
