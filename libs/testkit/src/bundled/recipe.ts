import type { Mixture } from './corpus.ts';
import type { Gpt2Sizes } from './parameters.ts';

/** Rows of one step. Short rows teach fastest; long ones teach the later positions and longer distances. */
export interface Rows {
  readonly batch: number;
  readonly pos: number;
}

export interface Phase {
  /** The phase ends before this step. */
  readonly until: number;
  readonly mixture: Mixture;
  /** Taken in turn, step by step. */
  readonly rows: readonly Rows[];
  /** The learning rate is the recipe's times this. */
  readonly rateScale: number;
  /** When given, only the embeddings of positions from here on are trained; all else is frozen. */
  readonly onlyPositionsFrom?: number;
}

export interface Recipe {
  readonly seed: number;
  readonly sizes: Omit<Gpt2Sizes, 'd_vocab'>;
  readonly phases: readonly Phase[];
  readonly rate: number;
  readonly warmupSteps: number;
  /** The rate falls along a cosine of this many steps to this share of its peak. */
  readonly rateSteps: number;
  readonly rateFloor: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly clip: number;
}

export function stepCount(recipe: Recipe): number {
  return recipe.phases.at(-1)!.until;
}

export function phaseAt(recipe: Recipe, step: number): Phase {
  return recipe.phases.find((phase) => step < phase.until) ?? recipe.phases.at(-1)!;
}

export function rowsAt(recipe: Recipe, step: number): Rows {
  const { rows } = phaseAt(recipe, step);
  return rows[step % rows.length]!;
}

/** Linear warm-up, then a cosine from the peak to its floor. */
export function rateAt(recipe: Recipe, step: number): number {
  const { rate, warmupSteps, rateSteps, rateFloor } = recipe;
  const warm = Math.min(1, (step + 1) / warmupSteps);
  const cosine = 0.5 * (1 + Math.cos((Math.PI * step) / rateSteps));
  const { rateScale } = phaseAt(recipe, step);
  return rateScale * rate * warm * (rateFloor + (1 - rateFloor) * cosine);
}
