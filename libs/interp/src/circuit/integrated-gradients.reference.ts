import { assert } from '@heddle/core';
import { dot } from '@heddle/linalg';
import { softmax } from '../host/index.ts';
import { IG_STEPS } from './limits.ts';

/**
 * *Integrated gradients of a softmax probability*: with total scores S = Σ_i X_i and p(α) =
 * softmax(α S), `IG_i = ∫_0^1 p_j(α) (X_ij − X_i · p(α)) dα`, trapezoid of `steps` intervals. IG is
 * linear in X_i: the result is the vector w, one weight per key, with `IG_i = X_i · w` for every
 * component i. Completeness: `S · w = p_j(1) − 1/n`, to the trapezoid's error.
 */
export function igWeights(scores: Float64Array, target: number, steps = IG_STEPS): Float64Array {
  assert(target >= 0 && target < scores.length, () => `key ${target} of ${scores.length}`);
  const w = new Float64Array(scores.length);
  for (let step = 0; step <= steps; step++) {
    const p = softmax(scores.map((value) => (value * step) / steps));
    const weight = (step === 0 || step === steps ? 0.5 : 1) / steps;
    for (let key = 0; key < w.length; key++) {
      w[key] += weight * p[target] * ((key === target ? 1 : 0) - p[key]);
    }
  }
  return w;
}

/**
 * `IG_i` of explicit components, one row of scores each: the formula as written, for small problems
 * and tests.
 */
export function igOfSoftmax(
  components: readonly Float64Array[],
  target: number,
  steps = IG_STEPS,
): Float64Array {
  const total = new Float64Array(components[0].length);
  for (const row of components) {
    row.forEach((value, key) => {
      total[key] += value;
    });
  }
  const w = igWeights(total, target, steps);
  return Float64Array.from(components, (row) => dot(row, w));
}
