import type { Rng } from '@heddle/core';
import { allowed, type Split } from './held-out.ts';
import { DAYS, LETTERS, MONTHS, NUMBER_WORDS, NUMBERS } from './lexicon.ts';
import { answer, guess, type Text } from './text.ts';

interface Series {
  readonly opener: string;
  readonly items: readonly string[];
  /** Days and months begin again after the last. */
  readonly cyclic: boolean;
  readonly strides: readonly number[];
}

const SERIES: readonly Series[] = [
  { opener: 'Count:', items: NUMBERS, cyclic: false, strides: [1] },
  { opener: 'Count down:', items: [...NUMBERS].reverse(), cyclic: false, strides: [1] },
  { opener: 'Count in steps:', items: NUMBERS, cyclic: false, strides: [2, 5, 10] },
  { opener: 'Numbers:', items: NUMBER_WORDS, cyclic: false, strides: [1] },
  { opener: 'Days:', items: DAYS, cyclic: true, strides: [1] },
  { opener: 'Months:', items: MONTHS, cyclic: true, strides: [1] },
  { opener: 'Letters:', items: LETTERS, cyclic: false, strides: [1] },
];

const LENGTH_MIN = 4;
const LENGTH_MAX = 12;

/**
 * A stretch of a known order: "Months: May June July". Foretold from the second item on (from the third where the
 * stride must be read off). Held out: the (opener and separator, first item) combination.
 */
export function succession(rng: Rng, split: Split): Text {
  for (;;) {
    const series = rng.pick(SERIES);
    const separator = rng.pick(['', ',']);
    const stride = rng.pick(series.strides);
    const wanted = LENGTH_MIN + rng.below(LENGTH_MAX - LENGTH_MIN + 1);
    const start = rng.below(series.items.length);
    const items = stretch(series, start, stride, wanted);
    if (items.length < LENGTH_MIN) continue;
    const first = items[0];
    if (!allowed(split, 'succession', series.opener + separator, first)) continue;
    const known = series.strides.length > 1 ? 2 : 1;
    return [
      guess(series.opener),
      ...items.flatMap((item, i) => [
        ...(i > 0 && separator !== '' ? [guess(separator)] : []),
        i < known ? guess(` ${item}`) : answer(` ${item}`),
      ]),
      guess('.'),
    ];
  }
}

function stretch(series: Series, start: number, stride: number, wanted: number): string[] {
  const { items, cyclic } = series;
  const out: string[] = [];
  for (let i = start; out.length < wanted; i += stride) {
    if (i >= items.length && !cyclic) break;
    out.push(items[i % items.length]);
  }
  return out;
}
