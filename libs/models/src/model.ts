import { assert } from '@heddle/core';
import type { WeightLocation } from '@heddle/onnx';
import type { ModelConfig } from './config/model-config.ts';
import type { WeightSpec } from './weights/weight-map.ts';

/** Element types of weights that we compute with; halves are widened exactly. */
export type WeightDType = 'f32' | 'f16' | 'bf16';

/** One tensor of a checkpoint, by where its bytes lie. */
export interface StoredWeight extends Omit<WeightSpec, 'names'> {
  /** The name in the file. */
  readonly name: string;
  readonly dtype: WeightDType;
  readonly location: WeightLocation;
}

/** A model as values: what it computes, and where its weights lie. Holds no weights. */
export interface Model {
  readonly config: ModelConfig;
  /** By role. */
  readonly weights: ReadonlyMap<string, StoredWeight>;
}

/** The weight in a role that the family must have. */
export function weightOf(model: Model, role: string): StoredWeight {
  const weight = model.weights.get(role);
  assert(weight !== undefined, () => `a ${model.config.family} model has no weight ${role}`);
  return weight;
}
