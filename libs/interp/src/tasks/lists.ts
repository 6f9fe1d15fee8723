import type { Rng } from '@heddle/core';
import { allowed, type Split } from './held-out.ts';
import { CATEGORIES } from './lexicon.ts';
import { answer, guess, type Text } from './text.ts';

const PLURALS = Object.keys(CATEGORIES);

/** At most this many lines fit, with the question, into 64 tokens (three a line). */
export const LIST_ITEMS_MAX = 12;
const LIST_ITEMS_MIN = 3;
const POSITIVES_MAX = 3;

/**
 * A list of one item a line and a question about one category; the answer names its items in the order of the list.
 * Held out: the (asked category's first item, the item before it in the list, or `start`) combination.
 */
export function categoryList(rng: Rng, split: Split, itemsMax: number): Text {
  for (;;) {
    const asked = rng.pick(PLURALS);
    const count = LIST_ITEMS_MIN + rng.below(itemsMax - LIST_ITEMS_MIN + 1);
    const positives = 1 + rng.below(Math.min(POSITIVES_MAX, count - 1));
    const others = PLURALS.filter((plural) => plural !== asked).flatMap((p) => CATEGORIES[p]);
    const items = rng.shuffle([
      ...rng.shuffle(CATEGORIES[asked]).slice(0, positives),
      ...rng.shuffle(others).slice(0, count - positives),
    ]);
    const found = items.filter((item) => CATEGORIES[asked].includes(item));
    const before = items[items.indexOf(found[0]) - 1] ?? 'start';
    if (!allowed(split, 'list', found[0], before)) continue;
    return [
      guess('List:'),
      ...items.map((item) => guess(`\n- ${item}`)),
      guess(`\nWhich ${asked} are in the list? Answer:`),
      ...found.flatMap((item, i) => [...(i > 0 ? [guess(',')] : []), answer(` ${item}`)]),
      guess('.'),
    ];
  }
}
