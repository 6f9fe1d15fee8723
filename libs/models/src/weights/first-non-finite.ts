import type { WeightDType } from '../model.ts';

/**
 * *Index of the first NaN or infinity among raw little-endian elements*, or −1: an exponent of all ones. Works on bits, so that
 * half precisions need no widening; `bytes` may start anywhere. About 1 GB/s.
 */
export function firstNonFinite(dtype: WeightDType, bytes: Uint8Array): number {
  const size = dtype === 'f32' ? 4 : 2;
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  const { buffer, byteOffset, byteLength } = aligned;
  if (dtype === 'f32') {
    return scan(new Uint32Array(buffer as ArrayBuffer, byteOffset, byteLength / 4), 0x7f800000);
  }
  const mask = dtype === 'bf16' ? 0x7f80 : 0x7c00;
  return scan(new Uint16Array(buffer as ArrayBuffer, byteOffset, byteLength / 2), mask);
}

function scan(elements: Uint32Array | Uint16Array, exponent: number): number {
  for (let i = 0; i < elements.length; i++) {
    if (((elements[i] as number) & exponent) === exponent) return i;
  }
  return -1;
}
