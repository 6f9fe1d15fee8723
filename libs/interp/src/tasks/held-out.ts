import { assert } from '@heddle/core';

/** `train` text never holds a held-out combination; `held-out` text asks only about held-out ones. */
export type Split = 'train' | 'held-out';

/** One combination of this many is held out: enough of them to evaluate on, few enough that training misses little. */
const HELD_OUT_ONE_OF = 8;

/**
 * Whether the combination of two words is kept out of training *in that task*. Both words are seen in training, in
 * other combinations and other tasks. FNV-1a over `task|a|b`: needs no table and no seed, so that training, evaluation
 * and a reader in another language agree for ever.
 */
export function isHeldOut(task: string, a: string, b: string): boolean {
  let hash = 0x811c9dc5;
  for (const character of `${task}|${a}|${b}`) {
    const code = character.codePointAt(0) as number;
    assert(code < 128, () => `held-out words are ASCII, not ${character}`);
    hash = Math.imul(hash ^ code, 0x01000193) >>> 0;
  }
  // FNV's low bits are weak for short strings: mix once before the remainder.
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
  return (hash ^ (hash >>> 12)) % HELD_OUT_ONE_OF === 0;
}

/** Whether a combination may be used in text of this split. */
export function allowed(split: Split, task: string, a: string, b: string): boolean {
  return isHeldOut(task, a, b) === (split === 'held-out');
}
