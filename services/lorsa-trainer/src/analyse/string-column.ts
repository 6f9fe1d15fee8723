import type { Safetensors } from '@heddle/formats';
import { type Tensor, tensor } from '@heddle/tensor';

/** Texts as two tensors: `NAME.utf8`, all bytes, and `NAME.end`, where each text ends. */
export function stringColumn(name: string, texts: readonly string[]): Record<string, Tensor> {
  const encoder = new TextEncoder();
  const parts = texts.map((text) => encoder.encode(text));
  const ends = new Int32Array(parts.length);
  let total = 0;
  parts.forEach((part, at) => {
    total += part.length;
    ends[at] = total;
  });
  const bytes = new Uint8Array(total);
  parts.forEach((part, at) => {
    bytes.set(part, ends[at - 1] ?? 0);
  });
  return {
    [`${name}.utf8`]: tensor('u8', [total], bytes),
    [`${name}.end`]: tensor('i32', [ends.length], ends),
  };
}

/** The texts of a column, decoded when read. */
export function stringsOf(file: Safetensors, name: string): { at(index: number): string } {
  const bytes = file.tensor(`${name}.utf8`).data as Uint8Array;
  const ends = file.tensor(`${name}.end`).data as Int32Array;
  const decoder = new TextDecoder();
  return { at: (index) => decoder.decode(bytes.subarray(ends[index - 1] ?? 0, ends[index])) };
}
