import { dataLoss, OperationError } from '@heddle/core';
import { type Tensor, tensor, widenF16 } from '@heddle/tensor';
import { readSafetensors } from '../safetensors/read-safetensors.ts';
import { writeSafetensors } from '../safetensors/write-safetensors.ts';

/** Bytes of a document's SHA-256 that tell it from every other one of a corpus. */
export const DOCUMENT_DIGEST_BYTES = 8;

/** The sequences of a shard. */
export interface TokensShard {
  /** `[batch, pos]`; padding, on the right, is 0. */
  readonly tokens: Tensor<'i32'>;
  /** `[batch, pos]`; 0: special or padding: a key, but in no loss, metric or norm. */
  readonly valid: Tensor<'u8'>;
  /** `[batch]`; tokens without padding. */
  readonly length: Tensor<'i32'>;
  /** `[batch, 8]`; the first bytes of the SHA-256 of the document's text or ids. */
  readonly document: Tensor<'u8'>;
}

export function encodeTokensShard(shard: TokensShard): Uint8Array {
  return writeSafetensors({ ...shard });
}

/** Errors: `data_loss`. */
export function decodeTokensShard(bytes: Uint8Array): TokensShard {
  return decoding(() => {
    const file = readSafetensors('shard', bytes);
    const take = <D extends 'i32' | 'u8'>(name: string, dtype: D, rank: number): Tensor<D> => {
      const found = file.tensor(name);
      if (found.dtype === dtype && found.shape.length === rank) return found as Tensor<D>;
      throw dataLoss(`${name} of a shard is ${found.dtype} with ${found.shape.length} axes`);
    };
    const tokens = take('tokens', 'i32', 2);
    const shard = {
      tokens,
      valid: take('valid', 'u8', 2),
      length: take('length', 'i32', 1),
      document: take('document', 'u8', 2),
    };
    const [batch, pos] = tokens.shape;
    const fits =
      shard.valid.shape[0] === batch &&
      shard.valid.shape[1] === pos &&
      shard.length.shape[0] === batch &&
      shard.document.shape[0] === batch &&
      shard.document.shape[1] === DOCUMENT_DIGEST_BYTES;
    if (!fits) throw dataLoss('the tensors of a shard are not of one size');
    return shard;
  });
}

/** Values `[batch, pos, …]` at one hook, zero at padding. */
export function encodeHookShard(values: Tensor<'f32'> | Tensor<'f16'>): Uint8Array {
  return writeSafetensors({ values });
}

/** In f32, whatever they are kept in. Errors: `data_loss`. */
export function decodeHookShard(bytes: Uint8Array): Tensor<'f32'> {
  return decoding(() => {
    const found = readSafetensors('shard', bytes).tensor('values');
    if (found.dtype === 'f32') return found as Tensor<'f32'>;
    if (found.dtype !== 'f16') throw dataLoss(`values of a shard are ${found.dtype}`);
    return tensor('f32', found.shape, widenF16(found.data as Uint16Array));
  });
}

function decoding<T>(body: () => T): T {
  try {
    return body();
  } catch (cause) {
    if (cause instanceof OperationError && cause.code === 'data_loss') throw cause;
    throw dataLoss('a shard of activations is damaged', { cause });
  }
}
