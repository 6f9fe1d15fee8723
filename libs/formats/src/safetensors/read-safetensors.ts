import { invalidArgument, notFound } from '@heddle/core';
import { fromBytes, type Tensor } from '@heddle/tensor';
import {
  dtypeOf,
  parseSafetensorsHeader,
  type SafetensorsHeader,
  type TensorEntry,
} from './header.ts';

/** A whole file in memory: its table of contents, and its tensors as views of the bytes (copied only if unaligned). */
export interface Safetensors {
  readonly header: SafetensorsHeader;
  names(): readonly string[];
  /** Errors: `not_found` for a name that the file lacks; `invalid_argument` for a dtype that we cannot hold. */
  tensor(name: string): Tensor;
}

/** *A safetensors file from its bytes.* Errors: those of `parseSafetensorsHeader`. */
export function readSafetensors(file: string, bytes: Uint8Array): Safetensors {
  const header = parseSafetensorsHeader(file, bytes, bytes.length);
  return {
    header,
    names: () => [...header.tensors.keys()],
    tensor(name) {
      const entry = header.tensors.get(name);
      if (!entry) throw notFound(`${file}: no tensor ${JSON.stringify(name)}`, { field: name });
      return decodeTensor(file, entry, bytes.subarray(entry.offset, entry.offset + entry.bytes));
    },
  };
}

/** One tensor from exactly its own bytes, as read with `pread` at `entry.offset`. */
function decodeTensor(file: string, entry: TensorEntry, bytes: Uint8Array): Tensor {
  const dtype = dtypeOf(entry.dtype);
  if (dtype === undefined) {
    throw invalidArgument(
      `${file}: tensor ${JSON.stringify(entry.name)} has dtype ${entry.dtype}; F32, F64, F16, BF16, I64, I32, U8 or BOOL expected`,
      { details: { file, tensor: entry.name } },
    );
  }
  return fromBytes(dtype, entry.shape, bytes);
}
