import { dataLoss } from '@heddle/core';
import { readSafetensors, writeSafetensors } from '@heddle/formats';
import type { Tensor } from '@heddle/tensor';

/** A state of ours between two tasks: safetensors under a format's name. */
export function encodeBlob(format: string, tensors: Readonly<Record<string, Tensor>>): Uint8Array {
  return writeSafetensors(tensors, { format });
}

/** Reads such a blob by name. Errors: `data_loss` for another format, for damage, and for what is missing. */
export function openTensors(bytes: Uint8Array, format: string): (name: string) => Tensor {
  try {
    const file = readSafetensors('analysis', bytes);
    const found = file.header.metadata.get('format');
    if (found !== format) throw dataLoss(`the blob has format ${found}, not ${format}`);
    return (name) => {
      if (!file.header.tensors.has(name)) throw dataLoss(`the blob lacks ${name}`);
      return file.tensor(name);
    };
  } catch (cause) {
    throw dataLoss('the blob of an analysis is damaged', { cause });
  }
}
