import { assert } from '@heddle/core';
import { type Ratio, ratio } from './ratio.ts';

/**
 * Documents fall into so many groups by their hash: standard errors are over groups, and a checkpoint of any length of
 * text has one size. A standard error over 1024 groups is itself known to 2 %.
 */
export const GROUPS = 1024;

export const groupOf = (document: bigint): number => Number(document % BigInt(GROUPS));

/** Sums over valid tokens by group of documents; each array `[1024]`, or one per K. */
export interface ReconstructionSums {
  readonly tokens: Float64Array;
  /** Σ‖y − centre‖². */
  readonly square: Float64Array;
  /** Σ y − centre over all groups, `[d_model]`. */
  readonly total: Float64Array;
  readonly error: readonly Float64Array[];
  readonly relative: readonly Float64Array[];
  readonly active: readonly Float64Array[];
  /** Tokens on which each feature is active at the first K, `[feature]`. */
  readonly fired: Float64Array;
}

export function emptyReconstructionSums(sizes: {
  readonly d_model: number;
  readonly features: number;
  readonly kCount: number;
}): ReconstructionSums {
  const perK = () => Array.from({ length: sizes.kCount }, () => new Float64Array(GROUPS));
  return {
    tokens: new Float64Array(GROUPS),
    square: new Float64Array(GROUPS),
    total: new Float64Array(sizes.d_model),
    error: perK(),
    relative: perK(),
    active: perK(),
    fired: new Float64Array(sizes.features),
  };
}

/** Adds, in place, what `measureGraph` gave for a batch; `documents`: of each sequence. */
export function addMeasures(
  sums: ReconstructionSums,
  documents: readonly bigint[],
  output: (name: string) => ArrayLike<number>,
): void {
  const groups = documents.map(groupOf);
  const bySequence = (into: Float64Array, name: string) => {
    const values = output(name);
    assert(values.length === groups.length, () => `${name} is not one number per sequence`);
    groups.forEach((group, b) => {
      into[group] += values[b];
    });
  };
  const whole = (into: Float64Array, name: string) => {
    const values = output(name);
    assert(values.length === into.length, () => `${name} has ${values.length} entries`);
    for (let at = 0; at < into.length; at++) into[at] += values[at];
  };
  bySequence(sums.tokens, 'tokens');
  bySequence(sums.square, 'square');
  whole(sums.total, 'total');
  whole(sums.fired, 'fired');
  for (const name of ['error', 'relative', 'active'] as const) {
    for (const [j, into] of sums[name].entries()) bySequence(into, `${name}_${j}`);
  }
}

export interface ReconstructionFigures {
  /** Σ‖y − ŷ‖² / Σ‖y − ȳ‖², pooled over all tokens, ȳ their mean (methods 1.9). */
  readonly fvu: Ratio;
  /** 1 − FVU. */
  readonly ev: number;
  /** Mean of ‖y − ŷ‖ / ‖y‖ over tokens. */
  readonly relativeL2: number;
  /** Mean number of active features per token. */
  readonly l0: number;
}

const sum = (values: ArrayLike<number>): number => {
  let all = 0;
  for (let at = 0; at < values.length; at++) all += values[at];
  return all;
};

/** Valid tokens measured. */
export const tokensOf = ({ tokens }: ReconstructionSums): number => sum(tokens);

/** ȳ − centre, `[d_model]`. */
export function meanOffset(sums: ReconstructionSums): Float64Array {
  const tokens = tokensOf(sums);
  return sums.total.map((value) => value / tokens);
}

/** Σ‖y − ȳ‖² of each group. */
function spread(sums: ReconstructionSums): Float64Array {
  // Exact in the sum over groups; by group the mean's own share is spread evenly, which is small about a near centre.
  const off = meanOffset(sums).reduce((square, value) => square + value * value, 0);
  return sums.square.map((square, g) => square - sums.tokens[g] * off);
}

/** The figures of the j-th K. Asserts that a token was measured. */
export function reconstructionFigures(sums: ReconstructionSums, j: number): ReconstructionFigures {
  const tokens = tokensOf(sums);
  assert(tokens > 0, 'no token was measured');
  const fvu = ratio(sums.error[j], spread(sums));
  return {
    fvu,
    ev: 1 - fvu.value,
    relativeL2: sum(sums.relative[j]) / tokens,
    l0: sum(sums.active[j]) / tokens,
  };
}

/** FVU of ŷ = 0: Σ‖y‖² / Σ‖y − ȳ‖². `centre`: what the sums are about. */
export function zeroFvu(sums: ReconstructionSums, centre: ArrayLike<number>): number {
  const tokens = tokensOf(sums);
  let mean = 0;
  meanOffset(sums).forEach((off, d) => {
    mean += (centre[d] + off) ** 2;
  });
  const variance = sum(spread(sums));
  return (variance + tokens * mean) / variance;
}
