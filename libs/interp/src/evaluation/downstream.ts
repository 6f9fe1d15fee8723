import { type Ratio, ratio } from './ratio.ts';
import { GROUPS, groupOf } from './reconstruction-sums.ts';

/**
 * Cross-entropies in nats over valid next-token predictions, summed by group of documents: with the layer as it is, and
 * with its output replaced.
 */
export interface CrossEntropySums {
  readonly predictions: Float64Array;
  /** By name: `original`, `zero`, `lorsa`, …; each `[1024]`. */
  readonly losses: Readonly<Record<string, Float64Array>>;
}

export function emptyCrossEntropies(names: readonly string[]): CrossEntropySums {
  return {
    predictions: new Float64Array(GROUPS),
    losses: Object.fromEntries(names.map((name) => [name, new Float64Array(GROUPS)])),
  };
}

/**
 * Adds one sequence, in place. Position t predicts token t + 1: it counts where t is valid, so that special tokens, at
 * which nothing is replaced, are no predictions either; padding has none.
 *
 *   valid   [pos] 0/1
 *   losses  by name, −log p(token t+1 | tokens 0..t) for t = 0 … length − 2
 */
export function addCrossEntropies(
  sums: CrossEntropySums,
  document: bigint,
  valid: ArrayLike<number>,
  losses: Readonly<Record<string, ArrayLike<number>>>,
): void {
  const group = groupOf(document);
  const [first = []] = Object.values(losses);
  for (let t = 0; t < first.length; t++) {
    if (!valid[t]) continue;
    sums.predictions[group] += 1;
    for (const [name, into] of Object.entries(sums.losses)) into[group] += losses[name][t];
  }
}

export interface DownstreamFigures {
  /** Mean loss per prediction, nats. */
  readonly ce: number;
  /** CE − CE_orig, with its standard error over documents. */
  readonly ceIncrease: Ratio;
  /** (CE_zero − CE) / (CE_zero − CE_orig): 1 for an exact replacement, 0 for none (methods 1.9). */
  readonly lossRecovered: Ratio;
}

/** Number of predictions measured. */
export const predictionsOf = ({ predictions }: CrossEntropySums): number =>
  predictions.reduce((a, b) => a + b, 0);

/** The figures of one replacement, `original` and `zero` included. */
export function downstreamFigures(sums: CrossEntropySums, name: string): DownstreamFigures {
  const { original, zero } = sums.losses;
  const own = sums.losses[name];
  const increase = own.map((loss, g) => loss - original[g]);
  const recovered = own.map((loss, g) => zero[g] - loss);
  const recoverable = zero.map((loss, g) => loss - original[g]);
  return {
    ce: ratio(own, sums.predictions).value,
    ceIncrease: ratio(increase, sums.predictions),
    lossRecovered: ratio(recovered, recoverable),
  };
}
