import { PRIOR_ROWS } from '../limits.ts';
import type { ProbeSums } from './detector.ts';

/**
 * Where the logit of the right token must stand among the others for full credit: three quarters of the way up. Chance is ½ and
 * gives nothing; a rank-one head writes one direction for many tokens, so that none of them is always the highest.
 */
const BOOST_FULL = 0.75;

/** A mean over few rows counts less: × rows / (rows + 4), so 0.2 for one row, 0.86 for 24, 0.99 for 400. */
export function shrunk({ rows }: ProbeSums, mean: number): number {
  return (mean * rows) / (rows + PRIOR_ROWS);
}

/** 0 for a percentile of ½ or less, 1 from ¾ on. */
export function credit(percentile: number): number {
  return Math.min(1, Math.max(0, (percentile - 0.5) / (BOOST_FULL - 0.5)));
}

export const percent = (share: number): string => `${Math.round(100 * share)} %`;

export function seen({ rows, targets }: ProbeSums): string {
  return rows === 0
    ? `never active at the probe's ${targets} places`
    : `active at ${rows} of the probe's ${targets} places`;
}
