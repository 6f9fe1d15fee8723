import { invalidArgument, type OperationError } from '@heddle/core';
import { dtypeOf, type SafetensorsHeader, type TensorEntry } from '@heddle/formats';
import { showShape } from '@heddle/tensor';
import type { ModelConfig } from '../config/model-config.ts';
import type { StoredWeight, WeightDType } from '../model.ts';
import { isBuffer, type WeightSpec, weightSpecs } from './weight-map.ts';

export interface BoundWeights {
  readonly weights: ReadonlyMap<string, StoredWeight>;
  /** Tensors that nothing reads; shown to the user. Known buffers are not among them. */
  readonly ignored: readonly string[];
}

/**
 * *Finds every weight of a config in the files' headers.* `headers` by file name; the location's file is that name.
 * Errors: `invalid_argument` that names file, tensor and expectation: a missing tensor, a tensor in two files, a shape, a dtype.
 */
export function bindWeights(
  config: ModelConfig,
  headers: readonly SafetensorsHeader[],
): BoundWeights {
  const entries = new Map<
    string,
    { readonly header: SafetensorsHeader; readonly entry: TensorEntry }
  >();
  for (const header of headers) {
    for (const [name, entry] of header.tensors) {
      const other = entries.get(name);
      if (other) throw wrong(header.file, name, `also stands in ${other.header.file}`);
      entries.set(name, { header, entry });
    }
  }
  const weights = new Map<string, StoredWeight>();
  const used = new Set<string>();
  for (const spec of weightSpecs(config)) {
    const name = spec.names.find((candidate) => entries.has(candidate));
    const found = name === undefined ? undefined : entries.get(name);
    if (name === undefined || !found) throw missing(spec, headers);
    used.add(name);
    weights.set(spec.role, stored(spec, found.header.file, found.entry));
  }
  const ignored = [...entries.keys()].filter((name) => !used.has(name) && !isBuffer(name)).sort();
  return { weights, ignored };
}

function stored(spec: WeightSpec, file: string, entry: TensorEntry): StoredWeight {
  const { role, shape, layout } = spec;
  const dtype = dtypeOf(entry.dtype);
  if (dtype !== 'f32' && dtype !== 'f16' && dtype !== 'bf16') {
    throw wrong(file, entry.name, `has dtype ${entry.dtype}; F32, F16 or BF16 expected`);
  }
  if (showShape(entry.shape) !== showShape(shape)) {
    throw wrong(
      file,
      entry.name,
      `has shape ${showShape(entry.shape)}; ${showShape(shape)} expected from config.json`,
    );
  }
  const location = { file, offset: entry.offset, length: entry.bytes };
  return { role, name: entry.name, shape, layout, dtype: dtype satisfies WeightDType, location };
}

function missing(spec: WeightSpec, headers: readonly SafetensorsHeader[]): OperationError {
  const files = headers.map(({ file }) => file);
  const where = files.length > 3 ? `${files.length} files` : files.join(', ');
  const [name = spec.role] = spec.names;
  return wrong(where, name, `is missing; ${showShape(spec.shape)} expected from config.json`);
}

function wrong(file: string, tensor: string, why: string): OperationError {
  return invalidArgument(`${file}: tensor ${JSON.stringify(tensor)} ${why}`, {
    field: 'model',
    details: { file, tensor },
  });
}
