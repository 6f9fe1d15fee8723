import type { Rng } from '@heddle/core';
import { ORDINAL_LISTS } from '../../../tasks/index.ts';
import type { NotApplicable, Probe, ProbeSequence, ProbeVocabulary } from './probe.ts';
import { randomIds } from './random-text.ts';

const SEQUENCES_PER_LIST = 14;
const STRETCH = { least: 3, most: 7 };
const ITEMS_MIN = 5;

export const listTexts = (): string[] => [
  ...ORDINAL_LISTS.flatMap(({ items }) => items.flatMap((item) => [` ${item}`, item])),
  ',',
];

/** Runs of items that are one token each, all written alike: with a space before them, or else without. */
function listsOf({ encode }: ProbeVocabulary): (readonly number[])[] {
  return ORDINAL_LISTS.flatMap(({ items, cyclic }) => {
    for (const space of [' ', '']) {
      const ids = items
        .map((item) => encode(`${space}${item}`))
        .map((id) => (id.length === 1 ? id[0] : -1));
      const cut = ids.indexOf(-1);
      const run = cut < 0 ? ids : ids.slice(0, cut);
      // A cyclic list closes only when it is whole.
      if (run.length >= ITEMS_MIN) return [cyclic && cut < 0 ? [...run, run[0]] : run];
    }
    return [];
  });
}

/**
 * Stretches of known orders: a successor head reads item k and raises item k + 1 above every other item of all lists. `labels` holds the
 * successor at every item.
 */
export function listsProbe(rng: Rng, vocabulary: ProbeVocabulary): Probe | NotApplicable {
  const { encode, pool, prefix } = vocabulary;
  const lists = listsOf(vocabulary);
  if (lists.length === 0) {
    const notApplicable = `no list of ${ORDINAL_LISTS.map(({ name }) => name).join(', ')} has ${ITEMS_MIN} items of one token each in this vocabulary`;
    return { detector: 'successor', notApplicable };
  }
  const comma = encode(',');
  const sequences = lists.flatMap((list) =>
    Array.from({ length: SEQUENCES_PER_LIST }, (_, i): ProbeSequence => {
      const most = Math.min(STRETCH.most, list.length - 1);
      const count = STRETCH.least + rng.below(most - STRETCH.least + 1);
      const start = rng.below(list.length - count);
      const tokens = [...prefix, ...randomIds(rng, pool, 2 + rng.below(3))];
      const labels = tokens.map(() => -1);
      const first = tokens.length;
      for (let k = start; k < start + count; k++) {
        if (i % 2 === 1 && comma.length === 1 && k > start) {
          tokens.push(comma[0]);
          labels.push(-1);
        }
        tokens.push(list[k]);
        labels.push(list[k + 1]);
      }
      const targets = tokens.flatMap((_, position) =>
        position < first ? [] : [{ position, sources: [] }],
      );
      return { tokens, prefix: prefix.length, targets, labels };
    }),
  );
  return {
    detector: 'successor',
    text: 'lists',
    sequences,
    candidates: [...new Set(lists.flat())],
  };
}
