import { invalidArgument } from '@heddle/core';
import { type StoredWeight, weightOf, widen } from '@heddle/models';
import type { LoadedModel, ModelFolder, RandomAccessFile, WeightReader } from '@heddle/ports';
import { fromBytes } from '@heddle/tensor';

export function openWeights(folder: ModelFolder, model: LoadedModel): WeightReader {
  const files = new Map<string, Promise<RandomAccessFile>>();
  const fileOf = ({ location }: StoredWeight) => {
    const name = model.fileNames.get(location.file) ?? location.file;
    const known = files.get(name) ?? folder.open(name);
    files.set(name, known);
    return known;
  };
  return {
    async read(role) {
      const weight = weightOf(model, role);
      const file = await fileOf(weight);
      const { offset, length } = weight.location;
      if (offset + length > file.bytes) {
        throw invalidArgument(`${file.path}: was shortened since it was loaded`, {
          field: 'model',
        });
      }
      return widen(fromBytes(weight.dtype, weight.shape, await file.read(offset, length)));
    },
    async close() {
      for (const file of files.values()) await (await file).close();
      files.clear();
    },
  };
}
