import type { Rng } from '@heddle/core';
import { allowed, type Split } from './held-out.ts';
import { fillPattern, IOI_PATTERNS, type IoiOrder, type IoiPattern } from './ioi-patterns.ts';
import { GIFTS, NAMES, PLACES } from './lexicon.ts';
import { answer, guess, type Text } from './text.ts';

/** Patterns 3, 8 and 10: never in training, neither as such nor by recombination; all their parts are, elsewhere. */
export const HELD_OUT_PATTERNS: readonly IoiPattern[] = [2, 7, 9].map((i) => IOI_PATTERNS[i]);
const SEEN_PATTERNS = IOI_PATTERNS.filter((p) => !HELD_OUT_PATTERNS.includes(p));

export interface IoiSentence {
  readonly text: Text;
  /** The whole prompt before the answer. */
  readonly prompt: string;
  readonly io: string;
  readonly s: string;
}

/**
 * One IOI sentence; the answer is the indirect object (IO), the name that stands there once. Training: seen patterns
 * and recombinations of their parts, pairs of names that are not held out. Held out: pairs of names never seen together
 * in this task, in held-out patterns; `patterns` widens the choice for a second measurement.
 */
export function ioiSentence(
  rng: Rng,
  split: Split,
  options: { readonly order?: IoiOrder; readonly patterns?: readonly IoiPattern[] } = {},
): IoiSentence {
  const pattern =
    split === 'train' ? trainingPattern(rng) : rng.pick(options.patterns ?? HELD_OUT_PATTERNS);
  const [io, s] = namePair(rng, split);
  const order = options.order ?? (rng.below(2) === 0 ? 'ABBA' : 'BABA');
  const filling = { io, s, place: rng.pick(PLACES), gift: rng.pick(GIFTS) };
  const { opening, phrase, prompt } = fillPattern(pattern, order, filling);
  const text = [
    guess(opening),
    // Which of the two names comes again is a coin's toss, but that it is one of them can be learned.
    guess(` ${s}`),
    guess(` ${phrase}`),
    answer(` ${io}`),
    guess('.'),
  ];
  return { text, prompt, io, s };
}

/** Two different names whose unordered pair is of the split. */
function namePair(rng: Rng, split: Split): readonly [string, string] {
  for (;;) {
    const io = rng.pick(NAMES);
    const s = rng.pick(NAMES);
    if (io === s) continue;
    const [first, second] = io < s ? [io, s] : [s, io];
    if (allowed(split, 'ioi', first, second)) return [io, s];
  }
}

/** Half of the time a published pattern, else its parts recombined, so that no sentence frame is a habit. */
function trainingPattern(rng: Rng): IoiPattern {
  if (rng.below(2) === 0) return rng.pick(SEEN_PATTERNS);
  for (;;) {
    const { opener, bridge } = rng.pick(IOI_PATTERNS);
    const { event } = rng.pick(IOI_PATTERNS);
    const { phrase } = rng.pick(IOI_PATTERNS);
    const candidate = { opener, event, bridge, phrase };
    if (!HELD_OUT_PATTERNS.some((held) => samePattern(held, candidate))) return candidate;
  }
}

function samePattern(a: IoiPattern, b: IoiPattern): boolean {
  return (
    a.opener === b.opener && a.event === b.event && a.bridge === b.bridge && a.phrase === b.phrase
  );
}
