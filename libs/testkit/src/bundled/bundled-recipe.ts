import type { Mixture } from './corpus.ts';
import type { Recipe } from './recipe.ts';

/** Short texts of every task; the three box forms are the curriculum: each is learned by what the one before built. */
const EASY: Mixture = {
  shares: { repeat: 1, ioi: 1, succession: 0.4, list: 0.8, box: 1.2 },
  laterStarts: 0,
  listItemsMax: 8,
  boxForms: ['beside', 'near', 'sentence'],
  boxFactsMax: 3,
};

const FULL: Mixture = {
  shares: { repeat: 1, ioi: 1, succession: 0.4, list: 1, box: 1.2 },
  laterStarts: 0.5,
  listItemsMax: 12,
  boxForms: ['beside', 'near', 'sentence', 'sentence'],
  boxFactsMax: 6,
};

/** How the bundled model was made. Changing anything here makes another model: train again and commit it. */
export const BUNDLED_RECIPE: Recipe = {
  seed: 1,
  sizes: { n_ctx: 256, d_model: 144, d_mlp: 576, n_layers: 4, n_heads: 3 },
  phases: [
    { until: 2000, mixture: EASY, rows: [{ batch: 32, pos: 64 }] },
    { until: 3400, mixture: { ...EASY, laterStarts: 0.5 }, rows: [{ batch: 32, pos: 64 }] },
    {
      until: 4800,
      mixture: FULL,
      // 2,048 tokens either way; the long rows train the longer distances.
      rows: [
        { batch: 32, pos: 64 },
        { batch: 32, pos: 64 },
        { batch: 8, pos: 256 },
      ],
    },
  ],
  rate: 2e-3,
  warmupSteps: 100,
  rateFloor: 0.1,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  clip: 1,
};
