import { invalidArgument } from '@heddle/core';
import type { Tensor } from '@heddle/tensor';

/** Single precision in engines and files, double in the twin. */
type Real = Tensor<'f32' | 'f64'>;

/** A TopK sparse autoencoder of one hook point. */
export interface SaeConfig {
  readonly d_model: number;
  /** Features: as many as the Lorsa layer that it is compared with has rank-one heads. */
  readonly d_sae: number;
  /** Features active per token, at most. */
  readonly topK: number;
}

/**
 * The trained numbers, in SAELens' names and orientation.
 *
 *   W_enc  [d_model, feature]    b_enc  [feature]
 *   W_dec  [feature, d_model]    b_dec  [d_model]
 */
export interface SaeWeights<T extends Real = Real> {
  readonly W_enc: T;
  readonly b_enc: T;
  readonly W_dec: T;
  readonly b_dec: T;
}

export type SaeParameter = keyof SaeWeights;

/** In the order in which they are stored and summed. */
export const SAE_PARAMETERS: readonly SaeParameter[] = ['W_enc', 'b_enc', 'W_dec', 'b_dec'];

export function saeShape({ d_model, d_sae }: SaeConfig, name: SaeParameter): readonly number[] {
  switch (name) {
    case 'W_enc':
      return [d_model, d_sae];
    case 'b_enc':
      return [d_sae];
    case 'W_dec':
      return [d_sae, d_model];
    case 'b_dec':
      return [d_model];
  }
}

export function mapSae<A extends Real, B extends Real>(
  weights: SaeWeights<A>,
  f: (t: A, name: SaeParameter) => B,
): SaeWeights<B> {
  const { W_enc, b_enc, W_dec, b_dec } = weights;
  return {
    W_enc: f(W_enc, 'W_enc'),
    b_enc: f(b_enc, 'b_enc'),
    W_dec: f(W_dec, 'W_dec'),
    b_dec: f(b_dec, 'b_dec'),
  };
}

/** The config, if it describes an autoencoder. Errors: `invalid_argument` naming the field. */
export function checkSaeConfig(config: SaeConfig): SaeConfig {
  for (const field of ['d_model', 'd_sae', 'topK'] as const) {
    const value = config[field];
    if (Number.isSafeInteger(value) && value >= 1) continue;
    throw invalidArgument(`${field} is ${value}, not a whole number ≥ 1`, { field });
  }
  if (config.topK <= config.d_sae) return config;
  throw invalidArgument(`k ${config.topK} is more than d_sae ${config.d_sae}`, { field: 'k' });
}

/** ‖w_dec‖ of every feature, `[feature]`. */
export function saeDecoderNorms(weights: SaeWeights): Float64Array {
  const [features = 0, d_model = 0] = weights.W_dec.shape;
  return Float64Array.from({ length: features }, (_, i) => {
    let sum = 0;
    for (let d = 0; d < d_model; d++) sum += weights.W_dec.data[i * d_model + d] ** 2;
    return Math.sqrt(sum);
  });
}
