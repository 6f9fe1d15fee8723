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

/** Entries below this share of the activation are not shown: the published tools' display rule. */
const SHARE_SHOWN_MIN = 0.01;

/** The z-pattern as people see it: entries whose size is under 1 % of the activation are left out. */
export function shownSources(
  zp: Float64Array,
  activation: number,
): readonly { readonly keyPos: number; readonly value: number }[] {
  return Array.from(zp, (value, keyPos) => ({ keyPos, value })).filter(
    ({ value }) => Math.abs(value) >= SHARE_SHOWN_MIN * Math.abs(activation) && value !== 0,
  );
}
