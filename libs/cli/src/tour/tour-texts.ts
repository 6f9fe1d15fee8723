import { Rng } from '@heddle/core';
import {
  boxFacts,
  categoryList,
  IOI_PATTERNS,
  type IoiSentence,
  ioiSentence,
  wholeText,
} from '@heddle/interp/tasks';

/**
 * The sentences of the main job: indirect objects, lists with a question, facts about boxes. Plain English that any
 * checkpoint can read; the bundled model has learned exactly these kinds of text, but never these pairs of names.
 */

/** Patterns in which the subject gives; "said to" has no gift to follow. */
const GIVING = IOI_PATTERNS.filter(({ phrase }) => phrase !== 'said to');
/** Lines of a list: with the question they fit into the context of the training. */
const LIST_ITEMS_MAX = 8;
const BOX = { factForm: 'sentence', questionForm: 'sentence', facts: 4, questions: 1 } as const;

/** The sentence that everybody knows; both the trace and the attribution explain it. */
export const FAMILIAR = {
  prompt: 'When Mary and John went to the store, John gave a drink to',
  io: 'Mary',
  s: 'John',
};

/** Both orders of the pair, balanced: sentence i has the indirect object first when i is even. */
export function ioiSentences(count: number, seed: number): IoiSentence[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, (_, i) =>
    ioiSentence(rng, 'held-out', { order: i % 2 === 0 ? 'ABBA' : 'BABA', patterns: GIVING }),
  );
}

/** What the tour's Lorsa is trained on: sentences of all three kinds in turn, answers included. */
export function trainingTexts(count: number, seed: number): string[] {
  const rng = new Rng(seed);
  return Array.from({ length: count }, (_, i) => {
    if (i % 3 === 1) return wholeText(categoryList(rng, 'train', LIST_ITEMS_MAX));
    if (i % 3 === 2) return wholeText(boxFacts(rng, 'train', BOX));
    return wholeText(ioiSentence(rng, 'held-out', { patterns: GIVING }).text);
  });
}
