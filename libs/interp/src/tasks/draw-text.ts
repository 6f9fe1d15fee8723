import type { Rng } from '@heddle/core';
import { type BoxForm, boxFacts } from './boxes.ts';
import type { Split } from './held-out.ts';
import { ioiSentence } from './ioi.ts';
import { categoryList, LIST_ITEMS_MAX } from './lists.ts';
import { succession } from './successions.ts';
import type { Text } from './text.ts';

export type Task = 'repeat' | 'ioi' | 'succession' | 'list' | 'box';

/** How hard the lists and box facts are. */
export interface TaskSizes {
  readonly listItemsMax: number;
  /** Drawn from; one that stands there twice is drawn twice as often. */
  readonly boxForms: readonly BoxForm[];
  /**
   * Whether the question's form is drawn apart from the facts'. Then each side can be learned alone: "The book C. … Which box is
   * the book in? Box" asks for a new query only, "The book is in box C. … The book" for a new key only.
   */
  readonly boxFormsCross: boolean;
  readonly boxFactsMax: number;
}

/** The hardest: what the bundled model was trained on last. */
export const FULL_SIZES: TaskSizes = {
  listItemsMax: LIST_ITEMS_MAX,
  boxForms: ['beside', 'near', 'sentence', 'sentence'],
  boxFormsCross: true,
  boxFactsMax: 6,
};

/** One text of a task other than repeats, whose length the caller decides. */
export function drawText(
  rng: Rng,
  split: Split,
  task: Exclude<Task, 'repeat'>,
  sizes: TaskSizes,
): Text {
  if (task === 'ioi') return ioiSentence(rng, split).text;
  if (task === 'succession') return succession(rng, split);
  if (task === 'list') return categoryList(rng, split, sizes.listItemsMax);
  const facts = 2 + rng.below(sizes.boxFactsMax - 1);
  const questions = 1 + rng.below(2 * facts);
  const factForm = rng.pick(sizes.boxForms);
  const questionForm = sizes.boxFormsCross ? rng.pick(sizes.boxForms) : factForm;
  return boxFacts(rng, split, { factForm, questionForm, facts, questions });
}
