import type { LorsaEncoding } from './forward.reference.ts';
import { type LorsaConfig, qkHeadOf } from './lorsa-config.ts';

/**
 * Where a head's activation comes from ("z-pattern"): zp(t, s) = A^{h(i)}(t, s) v_s for s ≤ t, one number per
 * `key_pos`. They sum to the pre-activation z̃_t exactly, which is z_t where the head is active; single entries can be
 * negative although z is not.
 */
export function zPattern(
  config: LorsaConfig,
  { pattern, values }: LorsaEncoding,
  ovHead: number,
  queryPos: number,
): Float64Array {
  const pos = values.shape[0];
  const row = (qkHeadOf(config, ovHead) * pos + queryPos) * pos;
  return Float64Array.from(
    { length: pos },
    (_, s) => pattern.data[row + s] * values.data[s * config.n_ov_heads + ovHead],
  );
}
