import { FULL_SIZES } from '@heddle/interp/tasks';
import type { Mixture } from './corpus.ts';
import type { Recipe } from './recipe.ts';

/** Short texts of every task; the three box forms are the curriculum: each is learned by what the one before built. */
const EASY: Mixture = {
  shares: { repeat: 1, ioi: 1, succession: 0.4, list: 0.8, box: 1.2 },
  laterStarts: 0,
  listItemsMax: 8,
  boxForms: ['beside', 'near', 'sentence'],
  boxFormsCross: false,
  boxFactsMax: 3,
};

/** Once induction and IOI stand: more of what is left, in smaller steps. */
const BOXES: Mixture = {
  ...EASY,
  shares: { repeat: 1, ioi: 0.8, succession: 0.4, list: 0.8, box: 2.4 },
  boxFormsCross: true,
};

/** Longer lists, more facts. */
const FULL: Mixture = {
  ...FULL_SIZES,
  shares: { repeat: 1, ioi: 1.4, succession: 0.4, list: 1.2, box: 1.2 },
  laterStarts: 0,
};

/** Every place of the context. */
const ANYWHERE: Mixture = { ...FULL, laterStarts: 1 };

const SHORT = { batch: 32, pos: 64 };
/** As many tokens; trains the longer distances. */
const LONG = { batch: 8, pos: 256 };

/** How the bundled model was made. Changing anything here makes another model: train again and commit it. */
export const BUNDLED_RECIPE: Recipe = {
  seed: 1,
  sizes: { n_ctx: 256, d_model: 144, d_mlp: 576, n_layers: 4, n_heads: 3 },
  phases: [
    { until: 2000, mixture: EASY, rows: [SHORT], rateScale: 1 },
    { until: 2200, mixture: EASY, rows: [SHORT], rateScale: 0.6 },
    { until: 2600, mixture: BOXES, rows: [SHORT], rateScale: 0.6 },
    { until: 2800, mixture: FULL, rows: [SHORT], rateScale: 0.5 },
    { until: 3000, mixture: FULL, rows: [SHORT], rateScale: 0.2 },
    // The circuits stand, on the first 64 places; now the others, and nothing that these circuits are made of.
    { until: 3600, mixture: ANYWHERE, rows: [SHORT, LONG], rateScale: 4, onlyPositionsFrom: 64 },
    { until: 4000, mixture: ANYWHERE, rows: [SHORT, LONG], rateScale: 7, onlyPositionsFrom: 64 },
    { until: 4400, mixture: ANYWHERE, rows: [SHORT, LONG], rateScale: 5, onlyPositionsFrom: 64 },
    { until: 4600, mixture: ANYWHERE, rows: [SHORT, LONG], rateScale: 1.5, onlyPositionsFrom: 64 },
  ],
  rate: 2e-3,
  warmupSteps: 100,
  rateSteps: 4800,
  rateFloor: 0.1,
  beta1: 0.9,
  beta2: 0.99,
  epsilon: 1e-8,
  clip: 1,
};
