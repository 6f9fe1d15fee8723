import { assert, type Rng } from '@heddle/core';
import { allowed, type Split } from './held-out.ts';
import { GIFTS, NAMES, PLACES } from './lexicon.ts';
import { answer, guess, type Text } from './text.ts';

/** Opener, pair, event, bridge, S, verb phrase, IO. P stands for a place, O for a gift. */
export interface Pattern {
  readonly opener: string;
  readonly event: string;
  readonly bridge: string;
  readonly verb: string;
}

function pattern(opener: string, event: string, bridge: string, verb: string): Pattern {
  return { opener, event, bridge, verb };
}

/** The fifteen patterns of the published IOI data set (its BABA order; ABBA swaps the pair). */
export const PATTERNS: readonly Pattern[] = [
  pattern('Then,', 'went to the P', '.', 'gave a O to'),
  pattern('Then,', 'had a lot of fun at the P', '.', 'gave a O to'),
  pattern('Then,', 'were working at the P', '.', 'decided to give a O to'),
  pattern('Then,', 'were thinking about going to the P', '.', 'wanted to give a O to'),
  pattern('Then,', 'had a long argument', ', and afterwards', 'said to'),
  pattern('After', 'went to the P', ',', 'gave a O to'),
  pattern('When', 'got a O at the P', ',', 'decided to give it to'),
  pattern('When', 'got a O at the P', ',', 'decided to give the O to'),
  pattern('While', 'were working at the P', ',', 'gave a O to'),
  pattern('While', 'were commuting to the P', ',', 'gave a O to'),
  pattern('After the lunch,', 'went to the P', '.', 'gave a O to'),
  pattern('Afterwards,', 'went to the P', '.', 'gave a O to'),
  pattern('Then,', 'had a long argument', '. Afterwards', 'said to'),
  pattern('The P', 'went to had a O', '.', 'gave it to'),
  pattern('Friends', 'found a O at the P', '.', 'gave it to'),
];

/** Patterns 3, 8 and 10: never in training, neither as such nor by recombination; all their parts are, elsewhere. */
export const HELD_OUT_PATTERNS: ReadonlySet<Pattern> = new Set([
  PATTERNS[2]!,
  PATTERNS[7]!,
  PATTERNS[9]!,
]);
const SEEN_PATTERNS = PATTERNS.filter((p) => !HELD_OUT_PATTERNS.has(p));

export type Order = 'ABBA' | 'BABA';

export interface Ioi {
  readonly text: Text;
  /** The whole prompt before the answer. */
  readonly prompt: string;
  readonly io: string;
  readonly s: string;
  readonly order: Order;
  readonly pattern: Pattern;
}

/**
 * One IOI sentence; the answer is the indirect object (IO), the name that stands there once. Training: seen patterns
 * and recombinations of their parts, pairs of names that are not held out. Held out: pairs of names never seen together
 * in this task, in held-out patterns; `patterns` widens the choice for a second measurement.
 */
export function ioiSentence(
  rng: Rng,
  split: Split,
  options: { readonly order?: Order; readonly patterns?: readonly Pattern[] } = {},
): Ioi {
  const p =
    split === 'train' ? trainingPattern(rng) : rng.pick(options.patterns ?? [...HELD_OUT_PATTERNS]);
  const [io, s] = namePair(rng, split);
  const order = options.order ?? (rng.below(2) === 0 ? 'ABBA' : 'BABA');
  const fill = filler(rng);
  const pair = order === 'ABBA' ? `${io} and ${s}` : `${s} and ${io}`;
  const opening = `${fill(p.opener)} ${pair} ${fill(p.event)}${p.bridge}`;
  const prompt = `${opening} ${s} ${fill(p.verb)}`;
  const text = [
    guess(opening),
    // Which of the two names comes again is a coin's toss, but that it is one of them can be learned.
    guess(` ${s}`),
    guess(` ${fill(p.verb)}`),
    answer(` ${io}`),
    guess('.'),
  ];
  return { text, prompt, io, s, order, pattern: p };
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
function trainingPattern(rng: Rng): Pattern {
  if (rng.below(2) === 0) return rng.pick(SEEN_PATTERNS);
  for (;;) {
    const mixed: Pattern = { ...rng.pick(PATTERNS), event: rng.pick(PATTERNS).event };
    const verb = rng.pick(PATTERNS).verb;
    const candidate = { ...mixed, verb };
    if ([...HELD_OUT_PATTERNS].some((held) => samePattern(held, candidate))) continue;
    return candidate;
  }
}

function samePattern(a: Pattern, b: Pattern): boolean {
  return a.opener === b.opener && a.event === b.event && a.bridge === b.bridge && a.verb === b.verb;
}

/** Puts one place and one gift of a sentence wherever P and O stand as words. */
function filler(rng: Rng): (part: string) => string {
  const place = rng.pick(PLACES);
  const gift = rng.pick(GIFTS);
  assert(place !== gift);
  return (part) => part.replace(/\bP\b/g, place).replace(/\bO\b/g, gift);
}
