import { assert, type Rng } from '@heddle/core';
import { allowed, type Split } from './held-out.ts';
import { POOL } from './lexicon.ts';
import { answer, guess, type Text } from './text.ts';

/** Shortest period: with two words the "previous token" alone would do. */
export const PERIOD_MIN = 3;

/**
 * A random sequence of distinct words, repeated until `length` words stand there. From the second word of the second
 * copy on everything is foretold by induction. Held out: neighbouring words (a then b), so that an evaluated sequence
 * holds no neighbours that training ever showed in a repeat.
 */
export function repeatedSequence(
  rng: Rng,
  split: Split,
  size: { readonly period: number; readonly length: number },
): Text {
  assert(size.period >= PERIOD_MIN, () => `period ${size.period}`);
  const sequence = distinctChain(rng, split, size.period);
  return Array.from({ length: size.length }, (_, i) => {
    const word = ` ${sequence[i % size.period]}`;
    return i <= size.period ? guess(word) : answer(word);
  });
}

/** Words without a repetition whose neighbours (and last to first) are all of the split. */
function distinctChain(rng: Rng, split: Split, period: number): string[] {
  for (;;) {
    const chain = grow(rng, split, period);
    const closes = allowed(split, 'repeat', chain[period - 1], chain[0]);
    if (closes) return chain;
  }
}

function grow(rng: Rng, split: Split, period: number): string[] {
  const chain = [rng.pick(POOL)];
  const used = new Set(chain);
  while (chain.length < period) {
    const next = rng.pick(POOL);
    if (used.has(next) || !allowed(split, 'repeat', chain[chain.length - 1], next)) continue;
    chain.push(next);
    used.add(next);
  }
  return chain;
}
