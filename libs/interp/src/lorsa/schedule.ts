import { assert } from '@heddle/core';

/** Warm-up, stable, decay: how the learning rate runs over a training. Lengths in steps. */
export interface LearningRate {
  readonly peak: number;
  readonly warmupSteps: number;
  /** Share of all steps in which the rate falls at the end. */
  readonly decayShare: number;
  /** What is left of the peak at the end. */
  readonly endShare: number;
}

/**
 * Learning rate at `step` of `steps` (methods 1.7): peak · min(1, (step+1)/warm, end + (1−end)(steps−step)/cool) with
 * cool = decayShare · steps.
 */
export function learningRateAt(rate: LearningRate, step: number, steps: number): number {
  assert(step >= 0 && step < steps, () => `step ${step} of ${steps}`);
  const warm = rate.warmupSteps > 0 ? (step + 1) / rate.warmupSteps : 1;
  const cool = rate.decayShare * steps;
  const decay =
    cool > 0
      ? rate.endShare + ((1 - rate.endShare) * (steps - step)) / cool
      : Number.POSITIVE_INFINITY;
  return rate.peak * Math.min(1, warm, decay);
}

/** Shapes in which K falls: `exponential-ratio` is the paper-era one, `linear` and `exponential` the current ones. */
export const K_SHAPES = [
  'constant',
  'exponential-ratio',
  'linear',
  'exponential',
  'cosine',
  'smooth-step',
  'sqrt',
] as const;

export type KShape = (typeof K_SHAPES)[number];

/** K starts at `from` and reaches `to` after `steps`. */
export interface KSchedule {
  readonly shape: KShape;
  readonly from: number;
  readonly to: number;
  readonly steps: number;
}

/** Steepness of the current `exponential` shape. */
const STEEPNESS = 3;

/**
 * Active heads allowed at a step, with p = step / steps up to 1. `exponential-ratio`: floor(k0 (k1/k0)^p), 768 → 64
 * gives 412, 221, 119, 64 at the quarters. The others are ceil(k0 − (k0−k1) f(p)): f = p, (1−e^{−3p})/(1−e^{−3}),
 * (1−cos πp)/2, p²(3−2p), √p.
 */
export function topKAt(schedule: KSchedule, step: number): number {
  const { shape, from, to, steps } = schedule;
  const p = steps > 0 ? Math.min(1, step / steps) : 1;
  if (p === 1) return to; // no rounding may keep K above its end
  switch (shape) {
    case 'constant':
      return to;
    case 'exponential-ratio':
      return Math.floor(from * (to / from) ** p);
    case 'linear':
      return Math.ceil(from - (from - to) * p);
    case 'exponential':
      return Math.ceil(
        from - ((from - to) * (1 - Math.exp(-STEEPNESS * p))) / (1 - Math.exp(-STEEPNESS)),
      );
    case 'cosine':
      return Math.ceil(from - ((from - to) * (1 - Math.cos(Math.PI * p))) / 2);
    case 'smooth-step':
      return Math.ceil(from - (from - to) * p * p * (3 - 2 * p));
    case 'sqrt':
      return Math.ceil(from - (from - to) * Math.sqrt(p));
  }
}
