import { Rng } from '@heddle/core';
import {
  drawText,
  POOL,
  type Split,
  type Task,
  type TaskSizes,
  wholeText,
} from '@heddle/interp/tasks';
import { type Bpe, trainBpe } from './bpe.ts';
import { splitWords } from './byte-level.ts';

/** Every form of every task, so that the vocabulary knows every word of every phase. */
const EVERYTHING: TaskSizes = {
  listItemsMax: 12,
  boxForms: ['beside', 'near', 'sentence'],
  boxFormsCross: false,
  boxFactsMax: 6,
};

const SEED = 3_000_001;
/** Per task and split; twice as many change no merge (the lexicon is in it anyway). */
const TEXTS = 3_000;

/** The bundled tokenizer: learned on generated text and the lexicon, until every word there is one token. */
export function bundledBpe(): Bpe {
  return trainBpe(wordCounts());
}

/** How often each word, with the space before it, stands in a sample of the text; each word of the lexicon once more. */
export function wordCounts(): Map<string, number> {
  const counts = new Map<string, number>();
  const count = (word: string) => counts.set(word, (counts.get(word) ?? 0) + 1);
  for (const word of POOL) count(` ${word}`);
  const rng = new Rng(SEED);
  const tasks: readonly Exclude<Task, 'repeat'>[] = ['ioi', 'succession', 'list', 'box'];
  const splits: readonly Split[] = ['train', 'held-out'];
  for (const task of tasks) {
    for (const split of splits) {
      for (let i = 0; i < TEXTS; i++) {
        const text = wholeText(drawText(rng, split, task, EVERYTHING));
        for (const word of splitWords(text)) count(word);
      }
    }
  }
  return counts;
}
