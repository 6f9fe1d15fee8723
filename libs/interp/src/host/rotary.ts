import type { Rotary } from './host-weights.ts';

/**
 * *Rotary position embedding* of one head vector `[d_head]` at a position: each pair of dimensions
 * (x, y) turns by the angle position · frequency, `(x cos − y sin, y cos + x sin)`. Orthogonal (at
 * amplitude 1), so R_dᵀ R_s depends on d − s only. Null rotary: a copy. Su et al. 2021.
 */
export function rotated(
  vector: Float64Array,
  position: number,
  rotary: Rotary | null,
): Float64Array {
  const out = vector.slice();
  if (rotary === null) return out;
  const pairs = rotary.dims / 2;
  for (let i = 0; i < pairs; i++) {
    const [a, b] = rotary.layout === 'half_split' ? [i, i + pairs] : [2 * i, 2 * i + 1];
    const angle = position * rotary.frequencies[i];
    const [cosine, sine] = [Math.cos(angle), Math.sin(angle)].map((x) => x * rotary.amplitude);
    out[a] = vector[a] * cosine - vector[b] * sine;
    out[b] = vector[b] * cosine + vector[a] * sine;
  }
  return out;
}
