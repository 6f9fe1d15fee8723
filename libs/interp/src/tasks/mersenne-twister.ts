import { assert } from '@heddle/core';

const SIZE = 624;
const SHIFT = 397;

/**
 * *MT19937 as Python's `random` runs it*: seeded by init_by_array of the seed's 32-bit words, whole
 * numbers below n from the top bits with rejection, doubles of 53 bits, Fisher-Yates from the last
 * index down. For data sets that others made with Python; our own randomness is `Rng`. Matsumoto &
 * Nishimura 1998.
 */
export class MersenneTwister {
  private readonly state = new Uint32Array(SIZE);
  private index = SIZE;

  constructor(seed: number) {
    assert(Number.isSafeInteger(seed) && seed >= 0, () => `seed ${seed} is not a whole number ≥ 0`);
    const key = seed < 2 ** 32 ? [seed] : [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
    this.initByArray(key);
  }

  private initByArray(key: readonly number[]): void {
    const s = this.state;
    s[0] = 19650218;
    for (let i = 1; i < SIZE; i++) {
      s[i] = Math.imul(1812433253, s[i - 1] ^ (s[i - 1] >>> 30)) + i;
    }
    let i = 1;
    let j = 0;
    for (let k = Math.max(SIZE, key.length); k > 0; k--) {
      s[i] = (s[i] ^ Math.imul(s[i - 1] ^ (s[i - 1] >>> 30), 1664525)) + key[j] + j;
      [i, j] = [i + 1, (j + 1) % key.length];
      if (i === SIZE) [s[0], i] = [s[SIZE - 1], 1];
    }
    for (let k = SIZE - 1; k > 0; k--) {
      s[i] = (s[i] ^ Math.imul(s[i - 1] ^ (s[i - 1] >>> 30), 1566083941)) - i;
      i++;
      if (i === SIZE) [s[0], i] = [s[SIZE - 1], 1];
    }
    s[0] = 0x80000000;
  }

  private twist(): void {
    const s = this.state;
    for (let i = 0; i < SIZE; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % SIZE] & 0x7fffffff);
      s[i] = s[(i + SHIFT) % SIZE] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.index = 0;
  }

  /** Uniform 32-bit word. */
  word(): number {
    if (this.index === SIZE) this.twist();
    let y = this.state[this.index++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  /** Uniform in 0 to 1, 53 bits: Python's `random()`. */
  uniform(): number {
    return ((this.word() >>> 5) * 2 ** 26 + (this.word() >>> 6)) / 2 ** 53;
  }

  /** Whole number below n: the top bits of a word, drawn until below n. Python's `_randbelow`. */
  below(n: number): number {
    assert(Number.isInteger(n) && n > 0 && n < 2 ** 32, () => `below(${n})`);
    const bits = 32 - Math.clz32(n);
    for (;;) {
      const drawn = this.word() >>> (32 - bits);
      if (drawn < n) return drawn;
    }
  }

  pick<T>(items: readonly T[]): T {
    return items[this.below(items.length)];
  }

  /** Python's `shuffle`; a new array. */
  shuffle<T>(items: readonly T[]): T[] {
    const out = items.slice();
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [out[i], out[j]] = [out[j], out[i]];
    }
    return out;
  }
}
