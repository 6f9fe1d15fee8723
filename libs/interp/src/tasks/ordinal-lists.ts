import { DAYS, LETTERS, MONTHS, NUMBER_WORDS, NUMBERS } from './lexicon.ts';

/** Words with a known order; each but the last has a successor, and of a cyclic list the last too. */
export interface OrdinalList {
  readonly name: string;
  readonly items: readonly string[];
  readonly cyclic: boolean;
}

export const ORDINAL_LISTS: readonly OrdinalList[] = [
  { name: 'days', items: DAYS, cyclic: true },
  { name: 'months', items: MONTHS, cyclic: true },
  { name: 'number words', items: NUMBER_WORDS, cyclic: false },
  { name: 'numbers', items: NUMBERS, cyclic: false },
  { name: 'letters', items: LETTERS, cyclic: false },
];
