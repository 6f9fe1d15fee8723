import { createHash, type Hash } from 'node:crypto';
import { invalidArgument } from '@heddle/core';
import type { SafetensorsHeader, TensorEntry } from '@heddle/formats';
import { firstNonFinite, type StoredWeight } from '@heddle/models';
import type { ModelFolder, RandomAccessFile } from '@heddle/ports';
import { PIECE_BYTES } from './limits.ts';

export interface WeightScan {
  /** SHA-256, hex, of each whole file, by name. */
  readonly fileDigests: ReadonlyMap<string, string>;
  /** SHA-256, hex, of the bytes of those tensors that were asked for, by name. */
  readonly tensorDigests: ReadonlyMap<string, string>;
}

/**
 * *Reads every file once*, from front to back: digests, and a search for NaN and infinities in the weights that are used.
 * Memory: one piece. Errors: `invalid_argument` with file, tensor and index; `cancelled`.
 */
export async function scanWeights(
  folder: ModelFolder,
  headers: readonly SafetensorsHeader[],
  weights: ReadonlyMap<string, StoredWeight>,
  options: { readonly digestOf: ReadonlySet<string>; readonly signal?: AbortSignal },
): Promise<WeightScan> {
  const { digestOf, signal } = options;
  const used = new Map([...weights.values()].map((weight) => [weight.name, weight]));
  const fileDigests = new Map<string, string>();
  const tensorDigests = new Map<string, string>();
  for (const header of headers) {
    const file = await folder.open(header.file);
    try {
      const whole = createHash('sha256');
      // The header may have changed since it was parsed; the digest then says so.
      whole.update(await file.read(0, header.dataOffset));
      const inOrder = [...header.tensors.values()].sort((a, b) => a.offset - b.offset);
      for (const entry of inOrder) {
        const own = digestOf.has(entry.name) ? createHash('sha256') : undefined;
        await scanTensor(file, entry, { whole, own, weight: used.get(entry.name), signal });
        if (own) tensorDigests.set(entry.name, own.digest('hex'));
      }
      fileDigests.set(header.file, whole.digest('hex'));
    } finally {
      await file.close();
    }
  }
  return { fileDigests, tensorDigests };
}

interface ScanInto {
  readonly whole: Hash;
  readonly own: Hash | undefined;
  readonly weight: StoredWeight | undefined;
  readonly signal: AbortSignal | undefined;
}

async function scanTensor(
  file: RandomAccessFile,
  entry: TensorEntry,
  { whole, own, weight, signal }: ScanInto,
): Promise<void> {
  for (let done = 0; done < entry.bytes; done += PIECE_BYTES) {
    signal?.throwIfAborted();
    const piece = await file.read(entry.offset + done, Math.min(PIECE_BYTES, entry.bytes - done));
    whole.update(piece);
    own?.update(piece);
    if (!weight) continue;
    const bad = firstNonFinite(weight.dtype, piece);
    if (bad >= 0) throw nonFinite(weight, done / (weight.dtype === 'f32' ? 4 : 2) + bad);
  }
}

function nonFinite({ name, shape, location }: StoredWeight, element: number) {
  const index: number[] = [];
  let rest = element;
  for (const size of shape.toReversed()) {
    index.unshift(rest % size);
    rest = Math.floor(rest / size);
  }
  return invalidArgument(
    `${location.file}: tensor ${JSON.stringify(name)} is NaN or infinite at [${index.join(', ')}]; finite weights expected`,
    { field: 'model', details: { file: location.file, tensor: name, element } },
  );
}
