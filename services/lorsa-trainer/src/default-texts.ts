import { Rng } from '@heddle/core';

/** Texts of a training that names none: enough that a head cannot learn them by heart in a few hundred steps. */
const TEXTS = 600;

/** A repeated sequence of this period and length fits into one window of the default context. */
const REPEAT = { period: 12, length: 30 };

/**
 * Text of the bundled model's own tasks (repeats, indirect objects, successions, lists, boxes), always the same. Loaded
 * only when asked for: no other training needs the grammar.
 */
export async function defaultTexts(): Promise<readonly string[]> {
  const [{ drawText }, { repeatedSequence }, { BUNDLED_RECIPE }, { wholeText }] = await Promise.all(
    [
      import('@heddle/testkit/bundled/corpus'),
      import('@heddle/testkit/bundled/repeats'),
      import('@heddle/testkit/bundled/bundled-recipe'),
      import('@heddle/testkit/bundled/text'),
    ],
  );
  const mixture = BUNDLED_RECIPE.phases.at(-1)?.mixture;
  if (!mixture) throw new TypeError('the recipe of the bundled model has no phase');
  const rng = new Rng(0);
  const tasks = ['ioi', 'list', 'succession', 'box', 'repeat'] as const;
  return Array.from({ length: TEXTS }, (_, i) => {
    const task = tasks[i % tasks.length] ?? 'ioi';
    return wholeText(
      task === 'repeat'
        ? repeatedSequence(rng, 'train', REPEAT)
        : drawText(rng, 'train', task, mixture),
    );
  });
}
