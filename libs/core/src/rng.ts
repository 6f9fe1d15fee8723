import { assert } from './assert.ts';

/** The whole state of a generator: four 32-bit words and the spare normal deviate. Goes into checkpoints. */
export interface RngState {
  readonly words: readonly [number, number, number, number];
  readonly spare: number | null;
}

/**
 * Seeded generator: xoshiro128** (Blackman & Vigna 2018), seeded through splitmix32. Same numbers on every machine;
 * never for secrets.
 */
export class Rng {
  private readonly s: Uint32Array;
  private spare: number | null = null;

  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, () => `seed ${seed} is not a whole number ≥ 0`);
    // Both halves of a 53-bit seed count.
    let z = (seed % 2 ** 32) ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1);
    this.s = Uint32Array.from({ length: 4 }, () => {
      z = (z + 0x9e3779b9) | 0;
      let t = z ^ (z >>> 16);
      t = Math.imul(t, 0x21f0aaad);
      t ^= t >>> 15;
      t = Math.imul(t, 0x735a2d97);
      return (t ^ (t >>> 15)) >>> 0;
    });
  }

  static restore(state: RngState): Rng {
    const rng = new Rng(0);
    rng.s.set(state.words);
    rng.spare = state.spare;
    return rng;
  }

  snapshot(): RngState {
    const [a = 0, b = 0, c = 0, d = 0] = this.s;
    return { words: [a, b, c, d], spare: this.spare };
  }

  /** Uniform 32-bit word. */
  word(): number {
    const s = this.s as unknown as [number, number, number, number];
    const five = Math.imul(s[1], 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** Uniform in [0, 1), 53 bits. */
  uniform(): number {
    return ((this.word() >>> 5) * 2 ** 26 + (this.word() >>> 6)) / 2 ** 53;
  }

  /** Uniform whole number in [0, n), without modulo bias. */
  below(n: number): number {
    assert(Number.isInteger(n) && n > 0 && n <= 2 ** 32, () => `below(${n})`);
    const limit = 2 ** 32 - (2 ** 32 % n);
    for (;;) {
      const word = this.word();
      if (word < limit) return word % n;
    }
  }

  /** Standard normal deviate (Marsaglia's polar method). */
  normal(): number {
    if (this.spare !== null) {
      const kept = this.spare;
      this.spare = null;
      return kept;
    }
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const r = u * u + v * v;
      if (r >= 1 || r === 0) continue;
      const factor = Math.sqrt((-2 * Math.log(r)) / r);
      this.spare = v * factor;
      return u * factor;
    }
  }

  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, 'pick from an empty list');
    return items[this.below(items.length)] as T;
  }

  /** Fisher-Yates, from the last index down; a new array. */
  shuffle<T>(items: readonly T[]): T[] {
    const out = items.slice();
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  }
}
