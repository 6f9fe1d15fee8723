import { bindAxes, type Tensor, zeros } from '@heddle/tensor';
import type { LorsaConfig } from './lorsa-config.ts';

/** Numbers in single precision (engine, files) or double precision (twins). */
export type Real = Tensor<'f32' | 'f64'>;

/**
 * The trained numbers of a Lorsa layer, in the published names.
 *
 *   W_Q, W_K      [qk_head, d_model, d_head]    b_Q, b_K   [qk_head, d_head]
 *   W_V           [ov_head, d_model]  one read row per head      b_V  [ov_head]
 *   W_O           [ov_head, d_model]  one write row per head     b_D  [d_model]
 *   ln_q, ln_k    [qk_head, d_head]   gains of the query and key RMS norms, where the host has them
 *   logThreshold  [ov_head]           only with jumprelu: threshold = exp()
 */
export interface LorsaWeights<T extends Real = Real> {
  readonly W_Q: T;
  readonly W_K: T;
  readonly b_Q: T;
  readonly b_K: T;
  readonly W_V: T;
  readonly b_V: T;
  readonly W_O: T;
  /** Zeros when the config has no decoder bias. */
  readonly b_D: T;
  readonly ln_q?: T;
  readonly ln_k?: T;
  readonly logThreshold?: T;
}

export type LorsaParameter = keyof LorsaWeights;

/** The parameters that this config trains, in the order in which they are stored and summed. */
export function parameterNames(config: LorsaConfig): readonly LorsaParameter[] {
  const names: LorsaParameter[] = ['W_Q', 'W_K', 'b_Q', 'b_K', 'W_V', 'b_V', 'W_O'];
  if (config.useDecoderBias) names.push('b_D');
  if (config.qkNormEps !== undefined) names.push('ln_q', 'ln_k');
  return names;
}

export function parameterShape(config: LorsaConfig, name: LorsaParameter): readonly number[] {
  const { d_model, n_ov_heads, n_qk_heads, d_qk_head } = config;
  switch (name) {
    case 'W_Q':
    case 'W_K':
      return [n_qk_heads, d_model, d_qk_head];
    case 'b_Q':
    case 'b_K':
    case 'ln_q':
    case 'ln_k':
      return [n_qk_heads, d_qk_head];
    case 'W_V':
    case 'W_O':
      return [n_ov_heads, d_model];
    case 'b_V':
    case 'logThreshold':
      return [n_ov_heads];
    case 'b_D':
      return [d_model];
  }
}

/** Asserts that every weight has the shape that the config says. */
export function bindWeights(config: LorsaConfig, weights: LorsaWeights): void {
  const sizes = bindAxes({
    W_Q: [weights.W_Q, 'qk_head d_model d_head'],
    W_K: [weights.W_K, 'qk_head d_model d_head'],
    b_Q: [weights.b_Q, 'qk_head d_head'],
    b_K: [weights.b_K, 'qk_head d_head'],
    W_V: [weights.W_V, 'ov_head d_model'],
    b_V: [weights.b_V, 'ov_head'],
    W_O: [weights.W_O, 'ov_head d_model'],
    b_D: [weights.b_D, 'd_model'],
    config: [
      { shape: [config.n_qk_heads, config.d_model, config.d_qk_head, config.n_ov_heads] },
      'qk_head d_model d_head ov_head',
    ],
  });
  for (const name of ['ln_q', 'ln_k'] as const) {
    const gain = weights[name];
    if (gain) {
      bindAxes({ gain: [gain, 'qk_head d_head'], sizes: [{ shape: [sizes.qk_head] }, 'qk_head'] });
    }
  }
}

/** Applies a function to every tensor, keeping which optional ones there are. */
export function mapWeights<A extends Real, B extends Real>(
  weights: LorsaWeights<A>,
  f: (t: A, name: LorsaParameter) => B,
): LorsaWeights<B> {
  const entries = Object.entries(weights) as [LorsaParameter, A | undefined][];
  const mapped = entries.flatMap(([name, t]) => (t ? [[name, f(t, name)] as const] : []));
  return Object.fromEntries(mapped) as unknown as LorsaWeights<B>;
}

export function toF64(t: Real): Tensor<'f64'> {
  return { dtype: 'f64', shape: t.shape, data: Float64Array.from(t.data) };
}

export function toF32(t: Real): Tensor<'f32'> {
  return { dtype: 'f32', shape: t.shape, data: Float32Array.from(t.data) };
}

/** Every parameter zero (norm gains one): where initialisers and gradient sums start. */
export function zeroWeights(config: LorsaConfig): LorsaWeights<Tensor<'f64'>> {
  const zero = (name: LorsaParameter) => zeros('f64', parameterShape(config, name));
  const gain = (name: LorsaParameter) => {
    const t = zero(name);
    t.data.fill(1);
    return t;
  };
  return {
    W_Q: zero('W_Q'),
    W_K: zero('W_K'),
    b_Q: zero('b_Q'),
    b_K: zero('b_K'),
    W_V: zero('W_V'),
    b_V: zero('b_V'),
    W_O: zero('W_O'),
    b_D: zero('b_D'),
    ...(config.qkNormEps === undefined ? {} : { ln_q: gain('ln_q'), ln_k: gain('ln_k') }),
  };
}

/** ‖w_o‖ of every head, `[ov_head]`. */
export function decoderNorms(weights: LorsaWeights): Float64Array {
  const [heads = 0, d_model = 0] = weights.W_O.shape;
  return Float64Array.from({ length: heads }, (_, i) => {
    let sum = 0;
    for (let d = 0; d < d_model; d++) sum += weights.W_O.data[i * d_model + d] ** 2;
    return Math.sqrt(sum);
  });
}
