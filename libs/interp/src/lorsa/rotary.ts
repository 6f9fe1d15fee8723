import { assert } from '@heddle/core';

/** Llama 3's rescaling of slow frequencies ("NTK by parts" in TransformerLens). */
export interface RotaryScaling {
  readonly factor: number;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly oldContextLength: number;
}

export interface RotaryConfig {
  /** The first `dim` coordinates of a head rotate, the rest pass. */
  readonly dim: number;
  readonly base: number;
  /** `adjacent` rotates the pairs (2m, 2m+1), `half` the pairs (m, m + dim/2). */
  readonly layout: 'adjacent' | 'half';
  readonly scaling?: RotaryScaling | undefined;
}

/** Cosines and sines by position and coordinate, `[pos, d_head]` with d_head = rotary dim, each pair's value twice. */
export interface RotaryTable {
  readonly cos: Float64Array;
  readonly sin: Float64Array;
}

/**
 * Inverse frequencies of the dim/2 pairs: f_m = base^(−2m/dim), and with Llama 3's scaling, for the wavelength 2π/f:
 * longer than old/low → f/factor; shorter than old/high → f; between them a linear blend.
 */
export function rotaryFrequencies(rotary: RotaryConfig): Float64Array {
  const { dim, base, scaling } = rotary;
  assert(dim % 2 === 0, () => `rotary dim ${dim} is odd`);
  return Float64Array.from({ length: dim / 2 }, (_, m) => {
    const f = base ** ((-2 * m) / dim);
    if (!scaling) return f;
    const wavelength = (2 * Math.PI) / f;
    const { factor, lowFreqFactor, highFreqFactor, oldContextLength } = scaling;
    if (wavelength > oldContextLength / lowFreqFactor) return f / factor;
    if (wavelength < oldContextLength / highFreqFactor) return f;
    const blend =
      (oldContextLength / wavelength - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
    return ((1 - blend) * f) / factor + blend * f;
  });
}

/** Index of the pair that coordinate c belongs to. */
function pairOf(rotary: RotaryConfig, c: number): number {
  return rotary.layout === 'adjacent' ? c >> 1 : c % (rotary.dim / 2);
}

/** cos and sin of the angle pos · f for positions 0 … positions−1. */
export function rotaryTable(rotary: RotaryConfig, positions: number): RotaryTable {
  const frequencies = rotaryFrequencies(rotary);
  const cos = new Float64Array(positions * rotary.dim);
  const sin = new Float64Array(positions * rotary.dim);
  for (let pos = 0; pos < positions; pos++) {
    for (let c = 0; c < rotary.dim; c++) {
      const angle = pos * frequencies[pairOf(rotary, c)];
      cos[pos * rotary.dim + c] = Math.cos(angle);
      sin[pos * rotary.dim + c] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** Where the partner of coordinate c sits, and the sign it comes with: rot maps a pair (a, b) to (−b, a). */
export function rotaryPartner(rotary: RotaryConfig, c: number): { index: number; sign: 1 | -1 } {
  if (rotary.layout === 'adjacent') {
    return c % 2 === 0 ? { index: c + 1, sign: -1 } : { index: c - 1, sign: 1 };
  }
  const half = rotary.dim / 2;
  return c < half ? { index: c + half, sign: -1 } : { index: c - half, sign: 1 };
}

/**
 * Rotates `[pos, d_head]` by each row's position: x cos + rot(x) sin on the first `dim` coordinates. `inverse` turns
 * the other way, which is the transpose and so the backward pass.
 */
export function rotate(
  rotary: RotaryConfig,
  table: RotaryTable,
  x: Float64Array,
  d_head: number,
  inverse = false,
): Float64Array {
  const out = x.slice();
  const positions = x.length / d_head;
  for (let c = 0; c < rotary.dim; c++) {
    const { index, sign } = rotaryPartner(rotary, c);
    const turn = inverse ? -sign : sign;
    for (let pos = 0; pos < positions; pos++) {
      const row = pos * d_head;
      const at = pos * rotary.dim + c;
      out[row + c] = x[row + c] * table.cos[at] + turn * x[row + index] * table.sin[at];
    }
  }
  return out;
}
