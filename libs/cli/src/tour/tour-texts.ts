import { Rng } from '@heddle/core';

/**
 * The sentences of the main job: indirect objects, lists with a question, facts about boxes. Plain English that any
 * checkpoint can read; the bundled model has learned exactly these kinds of text.
 */

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

const NAMES =
  words(`Mary John Alice Tom Sarah Paul Laura Kevin Anna Peter Emily Jack Kate Simon Maria
  David Rachel Scott Jane Martin Lisa Robert Julia Steven`);
const PLACES = words('store garden restaurant school hospital office house station');
const GIFTS = words('ring bone basketball computer necklace drink snack');
const THINGS = words('book cup pen key lamp shoe hat coin map clock brush spoon plate candle');
const LETTERS = words('A B C D E F G H J K L M');
const CATEGORIES: Readonly<Record<string, readonly string[]>> = {
  animals: words('cat dog horse cow pig'),
  fruits: words('apple pear peach plum grape'),
  liquids: words('beer tea soda water coffee'),
  vehicles: words('car bus truck bike scooter'),
};

export interface IoiSentence {
  /** Ends before the answer. */
  readonly text: string;
  /** The indirect object: the name that stands there once, and the answer. */
  readonly io: string;
  /** The subject: the name that stands there twice. */
  readonly s: string;
}

/** The sentence that everybody knows; both the trace and the attribution explain it. */
export const FAMILIAR: IoiSentence = {
  text: 'When Mary and John went to the store, John gave a drink to',
  io: 'Mary',
  s: 'John',
};

/** Both orders of the pair, balanced: sentence i has the indirect object first when i is even. */
export function ioiSentences(count: number, seed: number): IoiSentence[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, (_, i) => {
    const [io = '', s = ''] = rng.shuffle(NAMES);
    const pair = i % 2 === 0 ? `${io} and ${s}` : `${s} and ${io}`;
    const opener = rng.pick(['When', 'After', 'While']);
    const event = opener === 'While' ? 'were working at' : 'went to';
    const text = `${opener} ${pair} ${event} the ${rng.pick(PLACES)}, ${s} gave a ${rng.pick(GIFTS)} to`;
    return { text, io, s };
  });
}

function listQuestion(rng: Rng): string {
  const asked = rng.pick(Object.keys(CATEGORIES));
  const items = rng.shuffle(Object.values(CATEGORIES).flatMap((c) => rng.shuffle(c).slice(0, 2)));
  const found = items.filter((item) => CATEGORIES[asked]?.includes(item));
  const lines = items.map((item) => `\n- ${item}`).join('');
  return `List:${lines}\nWhich ${asked} are in the list? Answer: ${found.join(', ')}.`;
}

function boxFacts(rng: Rng): string {
  const things = rng.shuffle(THINGS).slice(0, 4);
  const letters = rng.shuffle(LETTERS);
  const facts = things.map((thing, i) => `The ${thing} is in box ${letters[i]}.`);
  const asked = rng.below(things.length);
  return `${facts.join(' ')} Which box is the ${things[asked]} in? Box ${letters[asked]}.`;
}

/** What the tour's Lorsa is trained on: sentences of all three kinds in turn, answers included. */
export function trainingTexts(count: number, seed: number): string[] {
  const rng = new Rng(seed);
  const ioi = ioiSentences(Math.ceil(count / 3), seed + 1);
  return Array.from({ length: count }, (_, i) => {
    if (i % 3 === 1) return listQuestion(rng);
    if (i % 3 === 2) return boxFacts(rng);
    const sentence = ioi[Math.floor(i / 3)];
    return sentence === undefined ? boxFacts(rng) : `${sentence.text} ${sentence.io}.`;
  });
}
