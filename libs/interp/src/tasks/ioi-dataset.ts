import { fillPattern, IOI_PATTERNS, type IoiFilling, type IoiOrder } from './ioi-patterns.ts';
import { GIFTS, NAMES, PLACES } from './lexicon.ts';
import { MersenneTwister } from './mersenne-twister.ts';

/** The published `mixed` data uses the first so many patterns, in both orders. */
const PATTERNS_MIXED = 7;

export interface IoiPrompt extends IoiFilling {
  /** The sentence up to and without the answer; the answer is a space and `io`. */
  readonly prompt: string;
  /** With the answer. */
  readonly text: string;
  readonly order: IoiOrder;
  /** 1 to 15, as in the paper's list. */
  readonly pattern: number;
}

/**
 * *The IOI data set*, bit for bit as the published Python generator makes its `mixed` kind:
 * patterns 1 to 7 in both orders, the list shuffled, then for each prompt a template, three names
 * redrawn together until all differ (the third only consumes randomness), a place and a gift,
 * both always drawn. For seed 0 and 256 prompts the texts have a known SHA-256.
 */
export function ioiDataset(count: number, seed: number): IoiPrompt[] {
  const random = new MersenneTwister(seed);
  const orders: IoiOrder[] = ['BABA', 'ABBA'];
  const templates = random.shuffle(
    orders.flatMap((order) =>
      IOI_PATTERNS.slice(0, PATTERNS_MIXED).map((pattern, i) => ({
        order,
        pattern,
        number: i + 1,
      })),
    ),
  );
  return Array.from({ length: count }, () => {
    const { order, pattern, number } = random.pick(templates);
    let names: string[] = [];
    do names = [random.pick(NAMES), random.pick(NAMES), random.pick(NAMES)];
    while (new Set(names).size < 3);
    const [io, s] = names;
    const filling = { io, s, place: random.pick(PLACES), gift: random.pick(GIFTS) };
    const { prompt } = fillPattern(pattern, order, filling);
    return { ...filling, prompt, text: `${prompt} ${io}`, order, pattern: number };
  });
}
