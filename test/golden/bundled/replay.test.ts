import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { BpeEncoder } from '@heddle/testkit/bundled/bpe';
import { BUNDLED_RECIPE } from '@heddle/testkit/bundled/bundled-recipe';
import { trainingModel } from '@heddle/testkit/bundled/training-graph';
import { initialState, programOf, trainOneStep } from '@heddle/testkit/bundled/training-step';
import { bundledBpe } from '@heddle/testkit/bundled/vocabulary';

/**
 * Losses of the first steps of the committed training. Recorded from the run that made the model, one thread.
 * An independent step in PyTorch (same start, same text) stays within 1.3e-5 of them over twenty steps; another
 * instruction set sums in another order, which Adam's first steps magnify, so the replay allows ten times that.
 */
const recorded = JSON.parse(
  readFileSync(new URL('./first-losses.json', import.meta.url), 'utf8'),
) as { readonly losses: readonly number[] };
const TOLERANCE = 1.5e-4;

test('training replays from its seed: the first twenty losses are the recorded ones', async () => {
  const bpe = bundledBpe();
  const encoder = new BpeEncoder(bpe);
  const sizes = { ...BUNDLED_RECIPE.sizes, d_vocab: bpe.vocab.size };
  const program = programOf(trainingModel(sizes));
  const engine = await OrtEngine.start({ threads: 1 });
  let state = initialState(BUNDLED_RECIPE, sizes.d_vocab);
  const losses: number[] = [];
  while (state.step < recorded.losses.length) {
    const step = await trainOneStep(engine, program, { recipe: BUNDLED_RECIPE, encoder, state });
    losses.push(step.loss);
    state = step.state;
  }
  await engine.close();

  assert.equal(losses.length, 20);
  losses.forEach((loss, i) => {
    const off = Math.abs(loss - recorded.losses[i]!);
    assert.ok(off < TOLERANCE, `step ${i}: loss ${loss}, recorded ${recorded.losses[i]}`);
  });
});
