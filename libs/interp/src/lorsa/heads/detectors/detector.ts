import type { HeadRow } from '../head-sequence.ts';
import type { DetectorName, Probe, ProbeSequence, ProbeTarget } from '../probes/probe.ts';

/** One active head at one target of a probe. */
export interface ProbeRow {
  readonly probe: Probe;
  readonly sequence: ProbeSequence;
  readonly target: ProbeTarget;
  readonly z: number;
  readonly row: HeadRow;
  readonly effects: RowEffects;
}

/** Direct logit effects of what the head writes here: with the sign of z. */
export interface RowEffects {
  effect(token: number): number;
  /** Among the distinct tokens of the sequence, or the probe's candidates: share of the others that are lower; ½ for chance. */
  percentile(token: number): number;
  /** The candidate with the largest effect. */
  best(): number;
}

/** What one row says: `value` in 0 to 1, and where the detector asks for it, how the logit of the right token moves. */
export interface RowEvidence {
  readonly value: number;
  /** A percentile, counted with weight |z| · boostWeight. */
  readonly boost?: number;
  readonly boostWeight?: number;
  /** Which tokens the row is about, with their weight: a detector may ask that they are several. */
  readonly tokens?: readonly { readonly token: number; readonly weight: number }[];
}

/** Sums of one head over a probe. */
export interface ProbeSums {
  /** Targets at which it was active, of how many. */
  readonly rows: number;
  readonly targets: number;
  /** Mean of the rows' values, and of their boosts, weighted by |z|. */
  readonly value: number;
  readonly boost: number;
  /** Mean activation and its standard deviation. */
  readonly mean: number;
  readonly deviation: number;
  /** Participation ratio (Σw)² / Σw² over the tokens of all rows: how many different ones they are about; 0 where none are named. */
  readonly variety: number;
}

/** A type of head: evidence per row, and what all rows together make of it. Scores lie in 0 to 1. */
export interface Detector {
  readonly name: DetectorName;
  /** A head above it is called so; `README.md` says how far below it chance stays. */
  readonly threshold: number;
  readonly what: string;
  readonly evidence: (row: ProbeRow) => RowEvidence;
  readonly score: (sums: ProbeSums) => number;
  readonly words: (sums: ProbeSums) => string;
}

/** Share of Σ|zp| that stands at these positions; 0 for a row of zeros. */
export function shareAt({ zPattern }: HeadRow, positions: readonly number[], last: number): number {
  let total = 0;
  for (let s = 0; s <= last; s++) total += Math.abs(zPattern[s]);
  if (total === 0) return 0;
  return positions.reduce((sum, s) => sum + Math.abs(zPattern[s]), 0) / total;
}
