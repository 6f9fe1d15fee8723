import { Rng } from '@heddle/core';
import { drawText, FULL_SIZES, repeatedSequence, wholeText } from '@heddle/interp/tasks';

/** Texts of a training that names none: enough that a head cannot learn them by heart in a few hundred steps. */
const TEXTS = 600;

/** A repeated sequence of this period and length fits into one window of the default context. */
const REPEAT = { period: 12, length: 30 };

const TASKS = ['ioi', 'list', 'succession', 'box', 'repeat'] as const;

/** Text of the tasks that the bundled model was trained on, each in turn; always the same. */
export function defaultTexts(): readonly string[] {
  const rng = new Rng(0);
  return Array.from({ length: TEXTS / TASKS.length }, () =>
    TASKS.map((task) =>
      wholeText(
        task === 'repeat'
          ? repeatedSequence(rng, 'train', REPEAT)
          : drawText(rng, 'train', task, FULL_SIZES),
      ),
    ),
  ).flat();
}
