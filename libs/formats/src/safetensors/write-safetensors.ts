import { assert } from '@heddle/core';
import { BYTES_PER_ELEMENT, type DType, elementCount, type Tensor, toBytes } from '@heddle/tensor';
import type { SafetensorsDType } from './header.ts';

const FILE_DTYPE: Record<DType, SafetensorsDType> = {
  f32: 'F32',
  f64: 'F64',
  f16: 'F16',
  bf16: 'BF16',
  i64: 'I64',
  i32: 'I32',
  u8: 'U8',
  bool: 'BOOL',
};

export interface TensorShape {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** The head of a file to be written, and the order in which the tensors' bytes must follow it. */
export interface SafetensorsLayout {
  readonly head: Uint8Array;
  readonly order: readonly string[];
  readonly fileBytes: number;
}

/**
 * *Layout of a safetensors file*, for a writer that streams. Like the reference, wide dtypes come first and names are
 * sorted within a dtype, and the head is padded to 8 bytes: so every tensor is aligned, and equal contents give equal bytes.
 */
function layoutSafetensors(
  tensors: Readonly<Record<string, TensorShape>>,
  metadata: Readonly<Record<string, string>> = {},
): SafetensorsLayout {
  const order = Object.entries(tensors)
    .sort(([a, x], [b, y]) => {
      const widest = BYTES_PER_ELEMENT[y.dtype] - BYTES_PER_ELEMENT[x.dtype];
      return widest || (a < b ? -1 : 1);
    })
    .map(([name]) => name);
  const members: string[] = [];
  const labels = Object.entries(metadata).sort(([a], [b]) => (a < b ? -1 : 1));
  if (labels.length > 0)
    members.push(`"__metadata__":${JSON.stringify(Object.fromEntries(labels))}`);
  let offset = 0;
  for (const name of order) {
    assert(name !== '__metadata__', 'a tensor cannot be called __metadata__');
    const { dtype, shape } = tensors[name] as TensorShape;
    const end = offset + elementCount(shape) * BYTES_PER_ELEMENT[dtype];
    const info = { dtype: FILE_DTYPE[dtype], shape, data_offsets: [offset, end] };
    members.push(`${JSON.stringify(name)}:${JSON.stringify(info)}`);
    offset = end;
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const head = new Uint8Array(8 + padded).fill(0x20, 8 + json.length);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return { head, order, fileBytes: head.length + offset };
}

/** *A safetensors file as bytes*, little-endian as the format demands (and as every machine that runs Node is). */
export function writeSafetensors(
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { head, order, fileBytes } = layoutSafetensors(tensors, metadata);
  const out = new Uint8Array(fileBytes);
  out.set(head);
  let offset = head.length;
  for (const name of order) {
    const bytes = toBytes(tensors[name] as Tensor);
    out.set(bytes, offset);
    offset += bytes.length;
  }
  return out;
}
