import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { OrtEngine } from '@heddle/adapters/ort';
import { BpeEncoder } from './bpe.ts';
import { BUNDLED_RECIPE } from './bundled-recipe.ts';
import { loadCheckpoint, saveCheckpoint, trainingDigest } from './checkpoint.ts';
import type { Recipe } from './recipe.ts';
import { trainingModel } from './training-graph.ts';
import { initialState, programOf, type TrainingState, trainOneStep } from './training-step.ts';
import { bundledBpe } from './vocabulary.ts';

const RECIPE: Recipe = {
  ...BUNDLED_RECIPE,
  sizes: { n_ctx: 64, d_model: 8, d_mlp: 16, n_layers: 1, n_heads: 2 },
  phases: [
    { ...BUNDLED_RECIPE.phases[0]!, until: 3, rows: [{ batch: 2, pos: 48 }] },
    { ...BUNDLED_RECIPE.phases[1]!, until: 6, rows: [{ batch: 1, pos: 64 }] },
  ],
};

test('a training that was stopped and resumed ends bit-equal to one that was not', async () => {
  const bpe = bundledBpe();
  const encoder = new BpeEncoder(bpe);
  const program = programOf(trainingModel({ ...RECIPE.sizes, d_vocab: bpe.vocab.size }));
  const digest = trainingDigest(RECIPE, program.bytes);
  const engine = await OrtEngine.start({ threads: 1 });
  const train = async (from: TrainingState, until: number) => {
    let state = from;
    while (state.step < until) {
      ({ state } = await trainOneStep(engine, program, { recipe: RECIPE, encoder, state }));
    }
    return state;
  };
  const folder = mkdtempSync(join(tmpdir(), 'heddle-checkpoint-'));
  const path = join(folder, 'state.safetensors');
  try {
    assert.equal(loadCheckpoint(path, digest), undefined);
    const start = initialState(RECIPE, bpe.vocab.size);
    const straight = await train(start, 6);
    saveCheckpoint(path, await train(start, 2), digest);
    const resumed = await train(loadCheckpoint(path, digest)!, 6);

    assert.notDeepEqual(straight.parameters.data, start.parameters.data);
    assert.deepEqual(resumed, straight);
    assert.throws(
      () => loadCheckpoint(path, trainingDigest({ ...RECIPE, rate: 1e-3 }, program.bytes)),
      /another recipe/,
    );
  } finally {
    await engine.close();
    rmSync(folder, { recursive: true });
  }
});
